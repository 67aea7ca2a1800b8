// What the signed-in person may do at a place, as identity says it.

import { useQuery } from '@tanstack/react-query';

import { people } from '../api/people';

/** A space, a project, an organisation; nothing: the platform. */
export interface At {
  org?: string;
  project?: string;
  space?: string;
}

/**
 * Whether to offer something: it spares people the refusal, the services decide. `permission` is one of those that custom roles
 * are made of. Nothing while it is not known; what cannot be asked is offered.
 */
export function useMay(permission: string, at: At): boolean | undefined {
  const query = useQuery({ queryKey: ['may', permission, at.org ?? '', at.project ?? '', at.space ?? ''], queryFn: () => people.check({ permission, ...at }), staleTime: 60_000, retry: false });
  return query.isError ? true : query.data?.allowed;
}
