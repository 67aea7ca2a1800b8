// What differs, one line each, in colour: "+" came, "-" went, "~" is another value.

const CLASS: Record<string, string> = { '+': 'added', '-': 'removed', '~': 'changed' };

export function Diff({ lines, label }: { lines: string[]; label: string }) {
  return (
    <ul className="code mono diff" aria-label={label}>
      {lines.map((line, index) => (
        // eslint-disable-next-line react/no-array-index-key -- two lines may be alike
        <li key={index} className={CLASS[line.charAt(0)]}>
          {line}
        </li>
      ))}
    </ul>
  );
}
