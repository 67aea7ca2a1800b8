// Who is signed in. The gateway keeps the tokens; the browser knows a name and the CSRF token.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, useContext, useEffect, useRef, type ReactNode } from 'react';

import { call, setCsrf, whenSignedOut } from './api/http';
import { dropDrafts } from './parts/drafts';

export interface Session {
  signed_in: boolean;
  user?: { subject: string; username: string; name: string };
  csrf?: string;
  ends_at?: string;
}

const Context = createContext<Session | null>(null);

/** Milliseconds between two looks whether somebody is signed in. */
const LOOK = 5 * 60_000;
/** The same while it has ended and the page waits. */
const LOOK_AGAIN = 5_000;

async function loadSession(): Promise<Session> {
  const session = await call<Session>('GET', '/auth/session');
  setCsrf(session.csrf ?? null);
  return session;
}

export function signInUrl(returnTo: string, language: string): string {
  return `/auth/login?${new URLSearchParams({ return_to: returnTo, lang: language })}`;
}

let leaving = false;

export async function signOut(): Promise<void> {
  // The page goes with the session; nothing is to be kept.
  leaving = true;
  try {
    dropDrafts(sessionStorage);
    const { redirect } = await call<{ redirect: string | null }>('POST', '/auth/logout');
    window.location.assign(redirect ?? '/');
  } catch (error) {
    leaving = false;
    throw error;
  }
}

export function useSession(): Session {
  const session = useContext(Context);
  if (session === null) throw new Error('useSession outside of its provider');
  return session;
}

/** What is to be shown, of the session as it is now and the one that the open page was begun with. */
export type Standing = 'page' | 'welcome' | 'ended' | 'another';

/**
 * `ended`: the page stays, so that nothing written in it is lost. `another`: somebody else has signed in; the page is not theirs.
 */
export function standingOf(now: Session, begun: Session | null): Standing {
  if (begun === null) return now.signed_in ? 'page' : 'welcome';
  if (!now.signed_in) return 'ended';
  return now.user?.subject === begun.user?.subject ? 'page' : 'another';
}

interface ProviderProps {
  children: ReactNode;
  waiting: ReactNode;
  /** Shown above the page when its session has ended. */
  ended: (again: () => void) => ReactNode;
  failed: (error: unknown, again: () => void) => ReactNode;
}

export function SessionProvider(props: ProviderProps) {
  const client = useQueryClient();
  const begun = useRef<Session | null>(null);
  const query = useQuery({
    queryKey: ['session'],
    queryFn: loadSession,
    staleTime: LOOK,
    refetchInterval: (state) => (begun.current !== null && state.state.data?.signed_in === false ? LOOK_AGAIN : LOOK),
    // Whoever has signed in in another window comes back to this one.
    refetchOnWindowFocus: 'always',
  });
  const { refetch, data } = query;
  // Many questions may fail at once; one look is enough.
  useEffect(() => whenSignedOut(() => void refetch({ cancelRefetch: false })), [refetch]);
  const standing = data && standingOf(data, begun.current);
  const before = useRef<Standing | undefined>(undefined);
  useEffect(() => {
    if (standing === 'another') {
      dropDrafts(sessionStorage);
      window.location.reload();
    }
    // What was refused meanwhile is asked for again.
    if (standing === 'page' && before.current === 'ended') void client.invalidateQueries({ predicate: (one) => one.queryKey[0] !== 'session' });
    before.current = standing;
  }, [standing, client]);
  if (data) {
    if (data.signed_in && standing === 'page') begun.current = data;
    const shown = begun.current ?? data;
    return (
      <Context value={shown}>
        {props.children}
        {standing === 'ended' && !leaving && props.ended(() => void refetch())}
      </Context>
    );
  }
  if (query.error) return props.failed(query.error, () => void refetch());
  return props.waiting;
}
