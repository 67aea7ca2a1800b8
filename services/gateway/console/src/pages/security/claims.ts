// Claims of outside tokens, as people write them.

/** `sub=repo:acme/shop:*`, one a line; what follows the first `=` belongs to the value. */
export function claimsOf(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')).trim(), line.slice(line.indexOf('=') + 1).trim()]));
}
