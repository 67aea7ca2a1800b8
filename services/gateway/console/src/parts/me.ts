// What the signed-in person is and may see, as identity says it.

import { useQuery } from '@tanstack/react-query';

import { account, type Me } from '../api/account';
import { get } from '../api/http';

export function useMe() {
  return useQuery({ queryKey: ['me'], queryFn: () => get<Me>(account.me), staleTime: 60_000 });
}

/** Hides what only the platform's administrators can use; the services decide, this only spares people the refusal. */
export function usePlatformAdmin(): boolean {
  return useMe().data?.platform_admin ?? false;
}
