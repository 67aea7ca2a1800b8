// Names of people and programs for the ids that records carry.

import { useQuery } from '@tanstack/react-query';

import { identity } from '../api/identity';

/** A function from a subject ("user:<uuid>") to its name; the short id until it is known. */
export function useNames(subjects: string[]): (subject: string | null | undefined) => string {
  const ids = [...new Set(subjects.filter((subject) => subject.startsWith('user:')))].toSorted();
  const query = useQuery({ queryKey: ['names', ids], queryFn: () => identity.names(ids), enabled: ids.length > 0, staleTime: 5 * 60_000 });
  return (subject) => {
    if (!subject) return '–';
    return query.data?.[subject] ?? (subject.startsWith('user:') ? subject.slice(5, 13) : subject.replace(/^(service|robot):/, ''));
  };
}
