// Tabs whose open one is in the address, so that it can be linked to and survives a reload.

import { Tabs } from 'antd';
import { Suspense, type ReactNode } from 'react';
import { useSearchParams } from 'react-router';

import { Loading } from './Loading';

export interface Tab {
  key: string;
  label: ReactNode;
  children: ReactNode;
}

export function PageTabs({ items }: { items: Tab[] }) {
  const [search, setSearch] = useSearchParams();
  const wanted = search.get('tab');
  const open = items.some((item) => item.key === wanted) ? wanted! : items[0]?.key;
  return (
    <Tabs
      destroyOnHidden
      activeKey={open}
      onChange={(key) => setSearch({ tab: key }, { replace: true })}
      items={items.map((item) => ({ ...item, children: <Suspense fallback={<Loading />}>{item.children}</Suspense> }))}
    />
  );
}
