// Lists that are too long for one answer: the service gives a page and where the next begins.

import { useInfiniteQuery, type QueryKey } from '@tanstack/react-query';
import { Button, type TableProps } from 'antd';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

import { get, type Page, type Query } from '../api/http';
import { DataTable } from './basics';

export function usePaged<T>(key: QueryKey, url: string, options: { query?: Query; interval?: number; enabled?: boolean } = {}) {
  const { query, interval, enabled = true } = options;
  const result = useInfiniteQuery({
    queryKey: [...key, 'pages', query ?? null],
    queryFn: ({ pageParam, signal }) => get<Page<T>>(url, { limit: 50, ...query, cursor: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    enabled,
    // Whoever has gone on reading is not thrown back.
    refetchInterval: (state) => (interval && (state.state.data?.pages.length ?? 0) <= 1 ? interval : false),
  });
  // One that is not asked for is not waited for.
  return { ...result, isPending: result.isLoading, items: result.data?.pages.flatMap((page) => page.items) ?? [] };
}

export type Paged<T> = ReturnType<typeof usePaged<T>>;

export function PagedTable<T extends object>({ query, ...rest }: TableProps<T> & { query: Paged<T>; empty: string; emptyAction?: ReactNode; label: string }) {
  const { t } = useTranslation();
  const more = () => (
    <Button onClick={() => void query.fetchNextPage()} loading={query.isFetchingNextPage}>
      {t('common.more')}
    </Button>
  );
  return <DataTable<T> query={query} pagination={false} footer={query.hasNextPage ? more : undefined} {...rest} />;
}
