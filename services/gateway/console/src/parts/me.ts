// What the signed-in person is and may see, as identity says it.

import { useQuery } from '@tanstack/react-query';

import { account, type Me } from '../api/account';
import { get } from '../api/http';
import { identity, type Org } from '../api/identity';
import { usePlace } from '../place';
import { useList } from './query';

export function useMe() {
  return useQuery({ queryKey: ['me'], queryFn: () => get<Me>(account.me), staleTime: 60_000 });
}

/** Hides what only the platform's administrators can use; the services decide, this only spares people the refusal. */
export function usePlatformAdmin(): boolean {
  return useMe().data?.platform_admin ?? false;
}

/**
 * The organisations that one administers; the platform's administrators, all. `first`: where one is, or begins; `none`: it is known
 * that there are none.
 */
export function useAdministered() {
  const admin = usePlatformAdmin();
  const place = usePlace();
  const orgs = useList<Org>(['orgs'], identity.orgs);
  const own = orgs.items.filter((one) => admin || one.role === 'admin').map((one) => one.name);
  const first: string | undefined = own.find((name) => name === place.org) ?? own[0];
  return { admin, own, first, none: !admin && orgs.isSuccess && own.length === 0 };
}

/** Whether one administers the platform or some organisation: clients, sign-in sources and the audit trail are for those. */
export function useAdministers(): boolean {
  const { admin, own } = useAdministered();
  return admin || own.length > 0;
}
