// Fields that hand on what was written when they are left or Enter is pressed, so that the file changes once.

import { Input, InputNumber, Select } from 'antd';
import { useId, type ReactNode } from 'react';

import { useDraft } from './draft';

function Labelled({ label, help, children }: { label: string; help?: string; children: (id: string) => ReactNode }) {
  const id = useId();
  return (
    <div className="small-field">
      <label htmlFor={id}>{label}</label>
      {children(id)}
      {help && <small>{help}</small>}
    </div>
  );
}

interface Props<T> {
  label: string;
  value: T;
  help?: string;
  onValue: (value: T) => void;
}

export function Text({ label, value, help, onValue }: Props<string>) {
  const { now, type, done } = useDraft(value, (text) => onValue(text.trim()));
  return <Labelled label={label} help={help}>{(id) => <Input id={id} value={now} onChange={(event) => type(event.target.value)} onBlur={done} onPressEnter={done} />}</Labelled>;
}

export function Whole({ label, value, help, min = 0, max, onValue }: Props<number | undefined> & { min?: number; max?: number }) {
  const { now, type, done } = useDraft<number | null>(value ?? null, (number) => onValue(number ?? undefined));
  return <Labelled label={label} help={help}>{(id) => <InputNumber id={id} className="full" min={min} max={max} precision={0} value={now} onChange={type} onBlur={done} onPressEnter={done} />}</Labelled>;
}

export function Pick({ label, value, help, options, clear, onValue }: Props<string | undefined> & { options: { value: string; label: string }[]; clear?: boolean }) {
  return <Labelled label={label} help={help}>{(id) => <Select id={id} className="full" allowClear={clear} value={value} onChange={(next) => onValue(next)} options={options} />}</Labelled>;
}

/** Several lines, one thing each. */
export function Lines({ label, value, help, onValue }: Props<string[]>) {
  const { now, type, done } = useDraft(value.join('\n'), (text) => onValue(text.split('\n').filter((line) => line.trim() !== '')));
  return <Labelled label={label} help={help}>{(id) => <Input.TextArea id={id} className="mono" rows={Math.min(10, Math.max(2, now.split('\n').length))} spellCheck={false} value={now} onChange={(event) => type(event.target.value)} onBlur={done} />}</Labelled>;
}

/** Lines of `KEY=value`. */
export function pairs(map: Record<string, unknown> | undefined): string[] {
  return Object.entries(map ?? {}).map(([key, value]) => `${key}=${String(value ?? '')}`);
}

export function unpaired(lines: string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const cut = line.indexOf('=');
      return cut < 0 ? [line.trim(), ''] : [line.slice(0, cut).trim(), line.slice(cut + 1)];
    }),
  );
}
