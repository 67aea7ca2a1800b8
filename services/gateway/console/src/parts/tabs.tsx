// Tabs whose open one is in the address, so that it can be linked to and survives a reload.

import { Tabs } from 'antd';
import { Suspense, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';

import { Loading } from './Loading';

export interface Tab {
  key: string;
  label: ReactNode;
  children: ReactNode;
}

export function PageTabs({ items }: { items: Tab[] }) {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const wanted = search.get('tab');
  const open = items.some((item) => item.key === wanted) ? wanted! : items[0]?.key;
  return (
    <Tabs
      destroyOnHidden
      activeKey={open}
      // Where the row is too narrow, the rest is behind a button, which needs a name.
      more={{ icon: <span role="img" aria-label={t('common.more')}>⋯</span> }}
      onChange={(key) => setSearch({ tab: key }, { replace: true })}
      items={items.map((item) => ({ ...item, children: <Suspense fallback={<Loading />}>{item.children}</Suspense> }))}
    />
  );
}
