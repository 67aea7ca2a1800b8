// The language and the look.

import { GlobalOutlined, MoonOutlined, SunOutlined } from '@ant-design/icons';
import { Button, Dropdown } from 'antd';
import { useTranslation } from 'react-i18next';

import { chooseLanguage, languages, type Language } from '../i18n';
import { useLook } from '../look';

const NAMES: Record<Language, string> = { 'zh-CN': '简体中文', 'en-US': 'English' };

export function LanguageSwitch() {
  const { t, i18n } = useTranslation();
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        selectable: true,
        selectedKeys: [i18n.language],
        items: languages.map((key) => ({ key, label: <span lang={key}>{NAMES[key]}</span> })),
        onClick: ({ key }) => chooseLanguage(key as Language),
      }}
    >
      <Button type="text" icon={<GlobalOutlined />} aria-label={t('shell.language')} data-testid="language">
        {NAMES[i18n.language as Language]}
      </Button>
    </Dropdown>
  );
}

export function LookSwitch() {
  const { t } = useTranslation();
  const { dark, toggle } = useLook();
  const label = t(dark ? 'shell.light' : 'shell.dark');
  return <Button type="text" icon={dark ? <SunOutlined /> : <MoonOutlined />} aria-label={label} title={label} onClick={toggle} data-testid="look" />;
}
