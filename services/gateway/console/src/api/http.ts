// Calls to the gateway: JSON in and out, problems (RFC 9457) as errors, the CSRF token on every change.

export interface FieldFault {
  field: string;
  detail: string;
}

/** An answer that is not a success, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly faults: FieldFault[] = [],
    readonly retryAfter: number | null = null,
    readonly requestId: string | null = null,
  ) {
    super(detail);
    this.name = 'ApiError';
  }
}

export interface Page<T> {
  items: T[];
  next?: string | null;
}

export type Query = Record<string, string | number | boolean | undefined | null>;

export interface CallOptions {
  query?: Query;
  body?: unknown;
  /** A body that is no JSON; its type is in the headers. */
  text?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

let csrf: string | null = null;
let onSignedOut: () => void = () => {};

/** Who waits for somebody to be signed in. */
const waiting = new Set<() => void>();

/** Set by the session each time it is known; none: nobody is signed in. */
export function setCsrf(token: string | null): void {
  csrf = token;
  if (token === null) return;
  const woken = [...waiting];
  waiting.clear();
  for (const wake of woken) wake();
}

/** Resolves once the session was looked at again and somebody is signed in, or when `signal` ends the waiting. */
export function signedInAgain(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    waiting.add(resolve);
    signal.addEventListener('abort', () => {
      waiting.delete(resolve);
      resolve();
    });
  });
}

/** Called whenever an answer says that nobody is signed in. */
export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

/** A path from parts that are encoded one by one: `path('orgs', org, 'projects')`. */
export function path(...parts: (string | number)[]): string {
  return `/api/v1/${parts.map((part) => encodeURIComponent(String(part))).join('/')}`;
}

export function withQuery(url: string, query?: Query): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  }
  const text = search.toString();
  return text === '' ? url : `${url}${url.includes('?') ? '&' : '?'}${text}`;
}

export async function send(method: string, url: string, options: CallOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET' && csrf !== null) headers['x-csrf'] = csrf;
  if (method === 'POST' && headers['idempotency-key'] === undefined) headers['idempotency-key'] = crypto.randomUUID();
  let response: Response;
  try {
    response = await fetch(withQuery(url, options.query), {
      method,
      headers,
      body: options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body)),
      signal: options.signal,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, 'console.unreachable', '');
  }
  if (!response.ok) throw await problem(response);
  return response;
}

export async function call<T>(method: string, url: string, options: CallOptions = {}): Promise<T> {
  const response = await send(method, url, options);
  const text = await response.text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** An answer with its version, to be given back with the change that is based on it. */
export interface Tagged<T> {
  value: T;
  etag: string | null;
}

export async function getTagged<T>(url: string, signal?: AbortSignal): Promise<Tagged<T>> {
  const response = await send('GET', url, { signal });
  return { value: (await response.json()) as T, etag: response.headers.get('etag') };
}

/** Refused (412) when somebody else changed it since it was read. */
export const putTagged = <T>(url: string, body: unknown, etag: string | null) => call<T>('PUT', url, { body, headers: etag === null ? {} : { 'if-match': etag } });

export const get = <T>(url: string, query?: Query, signal?: AbortSignal) => call<T>('GET', url, { query, signal });
export const post = <T>(url: string, body?: unknown, query?: Query) => call<T>('POST', url, { body, query });
export const put = <T>(url: string, body?: unknown) => call<T>('PUT', url, { body });
export const patch = <T>(url: string, body?: unknown) => call<T>('PATCH', url, { body });
export const remove = <T>(url: string) => call<T>('DELETE', url);

/** Nobody looks through more of them. */
const MOST = 2_000;

/** A list that the service gives page by page, as one. */
export async function getAll<T>(url: string, query?: Query, signal?: AbortSignal, before: T[] = []): Promise<Page<T>> {
  const page = await get<Page<T>>(url, query, signal);
  const items = [...before, ...page.items];
  return page.next && items.length < MOST ? getAll(url, { ...query, cursor: page.next }, signal, items) : { items, next: page.next };
}

async function problem(response: Response): Promise<ApiError> {
  const text = await response.text();
  let body: { code?: string; detail?: string; title?: string; errors?: FieldFault[] } = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Not a problem document; the status says what there is to say.
  }
  if (response.status === 401) onSignedOut();
  const wait = Number(response.headers.get('retry-after'));
  return new ApiError(
    response.status,
    body.code ?? `http.${response.status}`,
    body.detail ?? body.title ?? '',
    body.errors ?? [],
    Number.isFinite(wait) && wait > 0 ? wait : null,
    response.headers.get('x-request-id'),
  );
}
