// A browser's own description, in the few words a person needs.

const BROWSERS: [RegExp, string][] = [
  [/Edg\/(\d+)/, 'Edge'],
  [/OPR\/(\d+)/, 'Opera'],
  [/Firefox\/(\d+)/, 'Firefox'],
  [/(?:Chrome|Chromium)\/(\d+)/, 'Chrome'],
  [/Version\/(\d+).*Safari/, 'Safari'],
];
const SYSTEMS: [RegExp, string][] = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/Linux/, 'Linux'],
];

/** "Firefox 128 · Linux"; what is not known stays as it is, cut short. */
export function browserOf(agent: string): string {
  const browser = BROWSERS.map(([pattern, name]) => [agent.match(pattern)?.[1], name] as const).find(([version]) => version !== undefined);
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  if (!browser) return agent === '' ? '–' : agent.slice(0, 60);
  return [`${browser[1]} ${browser[0]}`, system].filter(Boolean).join(' · ');
}
