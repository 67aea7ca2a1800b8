// What differs, one line each, in colour: "+" came, "-" went, "~" is another value.

const CLASS: Record<string, string> = { '+': 'added', '-': 'removed', '~': 'changed' };

export function Diff({ lines, label }: { lines: string[]; label: string }) {
  return (
    <ul className="code mono diff" aria-label={label}>
      {lines.map((line) => (
        <li key={line} className={CLASS[line.charAt(0)]}>
          {line}
        </li>
      ))}
    </ul>
  );
}
