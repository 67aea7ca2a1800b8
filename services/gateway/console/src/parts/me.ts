// What the signed-in person is and may see, as identity says it.

import { useQuery } from '@tanstack/react-query';

import { account, type Me } from '../api/account';
import { get } from '../api/http';
import { identity, type Org } from '../api/identity';
import { useList } from './query';

export function useMe() {
  return useQuery({ queryKey: ['me'], queryFn: () => get<Me>(account.me), staleTime: 60_000 });
}

/** Hides what only the platform's administrators can use; the services decide, this only spares people the refusal. */
export function usePlatformAdmin(): boolean {
  return useMe().data?.platform_admin ?? false;
}

/** Whether one administers the platform or some organisation: clients, sign-in sources and the audit trail are for those. */
export function useAdministers(): boolean {
  const admin = usePlatformAdmin();
  const orgs = useList<Org>(['orgs'], identity.orgs);
  return admin || orgs.items.some((one) => one.role === 'admin');
}
