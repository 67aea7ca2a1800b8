// Light or dark, and the language: chosen once, remembered.

import { App, ConfigProvider, theme } from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
// Names of months and weekdays in calendars, which antd takes from there.
import 'dayjs/locale/zh-cn';
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

import { nonce } from './nonce';

const KEY = 'gantry.look';

interface Look {
  dark: boolean;
  toggle: () => void;
}

const Context = createContext<Look>({ dark: false, toggle: () => {} });

export const useLook = (): Look => useContext(Context);

export function LookProvider({ children }: { children: ReactNode }) {
  const { i18n } = useTranslation();
  const [dark, setDark] = useState(() => (localStorage.getItem(KEY) ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark');
  useEffect(() => {
    localStorage.setItem(KEY, dark ? 'dark' : 'light');
    document.documentElement.dataset.look = dark ? 'dark' : 'light';
  }, [dark]);
  useEffect(() => {
    document.documentElement.lang = i18n.language;
  }, [i18n.language]);
  const look = useMemo(() => ({ dark, toggle: () => setDark((old) => !old) }), [dark]);
  return (
    <Context value={look}>
      <ConfigProvider
        csp={nonce ? { nonce } : undefined}
        locale={i18n.language === 'zh-CN' ? zhCN : enUS}
        theme={{
          algorithm: dark ? theme.darkAlgorithm : theme.defaultAlgorithm,
          components: { Menu: { itemHeight: 34, itemMarginBlock: 2 } },
          token: { colorPrimary: dark ? '#5b8def' : '#1d4ed8', colorInfo: dark ? '#5b8def' : '#1d4ed8', ...(dark ? { colorBgLayout: '#0f1115' } : {}), borderRadius: 6, fontFamily: "system-ui, -apple-system, 'Segoe UI', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif" },
        }}
      >
        <App className="app">{children}</App>
      </ConfigProvider>
    </Context>
  );
}
