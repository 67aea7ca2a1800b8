// What a terminal in an instance starts.

export const PROGRAMS = ['shell', 'sh', 'bash', 'ash'];

/** bash where the image has it, else sh; the terminal's kind is said, since nobody else does. */
const SHELL = ['sh', '-c', 'TERM=xterm-256color; export TERM; command -v bash >/dev/null 2>&1 && exec bash; exec sh'];

/** A command line as words; quotes keep blanks together. */
export function commandOf(text: string): string[] {
  if (text.trim() === PROGRAMS[0]) return SHELL;
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}
