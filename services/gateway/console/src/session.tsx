// Who is signed in. The gateway keeps the tokens; the browser knows a name and the CSRF token.

import { useQuery } from '@tanstack/react-query';
import { createContext, useContext, useEffect, type ReactNode } from 'react';

import { call, setCsrf, whenSignedOut } from './api/http';

export interface Session {
  signed_in: boolean;
  user?: { subject: string; username: string; name: string };
  csrf?: string;
  ends_at?: string;
}

const Context = createContext<Session | null>(null);

async function loadSession(): Promise<Session> {
  const session = await call<Session>('GET', '/auth/session');
  setCsrf(session.csrf ?? null);
  return session;
}

export function signInUrl(returnTo: string, language: string): string {
  return `/auth/login?${new URLSearchParams({ return_to: returnTo, lang: language })}`;
}

export async function signOut(): Promise<void> {
  const { redirect } = await call<{ redirect: string | null }>('POST', '/auth/logout');
  window.location.assign(redirect ?? '/');
}

export function useSession(): Session {
  const session = useContext(Context);
  if (session === null) throw new Error('useSession outside of its provider');
  return session;
}

export function SessionProvider(props: { children: ReactNode; waiting: ReactNode; failed: (error: unknown, again: () => void) => ReactNode }) {
  const query = useQuery({ queryKey: ['session'], queryFn: loadSession, staleTime: 5 * 60_000, refetchInterval: 5 * 60_000 });
  const { refetch } = query;
  useEffect(() => whenSignedOut(() => void refetch()), [refetch]);
  if (query.data) return <Context value={query.data}>{props.children}</Context>;
  if (query.error) return props.failed(query.error, () => void refetch());
  return props.waiting;
}
