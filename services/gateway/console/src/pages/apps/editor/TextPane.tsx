// The file: its lines are numbered, and what is wrong stands at its line.

import { Button, Flex, Input, Tag, Typography, type GetRef } from 'antd';
import { useRef, useState, type KeyboardEvent } from 'react';
import { useTranslation } from 'react-i18next';

import type { Remark } from '../../../api/scheduler';

const COLOUR = { wrong: 'red', unsupported: 'orange', not_yet: 'orange', note: 'blue' } as const;
const ROWS = 24;

export function TextPane({ text, remarks, onText, onKey }: { text: string; remarks: Remark[]; onText: (text: string) => void; onKey: (event: KeyboardEvent) => void }) {
  const { t } = useTranslation();
  const field = useRef<GetRef<typeof Input.TextArea>>(null);
  const [top, setTop] = useState(0);
  const lines = text.split('\n');
  const worst = new Map<number, Remark>();
  for (const remark of remarks) {
    const known = worst.get(remark.line);
    if (!remark.file && (!known || (known.level === 'note' && remark.level !== 'note'))) worst.set(remark.line, remark);
  }
  const goTo = (line: number) => {
    const area = field.current?.resizableTextArea?.textArea;
    if (!area || line < 1) return;
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    area.focus();
    area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    area.scrollTop = Math.max(0, (line - 4) * (area.scrollHeight / lines.length));
  };
  return (
    <div>
      <label htmlFor="document">{t('deploy.document')}</label>
      <div className="sheet">
        <div className="sheet-gutter" aria-hidden>
          <div style={{ transform: `translateY(${-top}px)` }}>
            {lines.map((_, index) => {
              const remark = worst.get(index + 1);
              return (
                // eslint-disable-next-line react/no-array-index-key -- a line has no other name
                <div key={index} className={remark ? `sheet-line sheet-${remark.level}` : 'sheet-line'} title={remark?.detail}>
                  {index + 1}
                </div>
              );
            })}
          </div>
        </div>
        <Input.TextArea
          id="document"
          ref={field}
          className="sheet-text"
          rows={ROWS}
          wrap="off"
          spellCheck={false}
          value={text}
          aria-invalid={remarks.some((remark) => remark.level === 'wrong')}
          aria-describedby="document-remarks"
          placeholder={'services:\n  web:\n    image: localhost:7443/acme/shop/web:1\n    ports: ["8080"]\n    deploy:\n      replicas: 3'}
          onKeyDown={onKey}
          onChange={(event) => onText(event.target.value)}
          onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        />
      </div>
      <div id="document-remarks">
        <Remarks remarks={remarks} onLine={goTo} />
      </div>
    </div>
  );
}

export function Remarks({ remarks, onLine }: { remarks: Remark[]; onLine?: (line: number) => void }) {
  const { t } = useTranslation();
  if (remarks.length === 0) return null;
  return (
    <ul className="remarks" aria-label={t('editor.remarks')}>
      {remarks.map((remark) => (
        <li key={`${remark.file}:${remark.path}:${remark.line}:${remark.detail}`}>
          <Flex gap="small" align="baseline">
            <Tag color={COLOUR[remark.level]}>{t(`remark.${remark.level}`)}</Tag>
            <span>
              {remark.line > 0 &&
                (onLine && !remark.file ? (
                  <Button type="link" size="small" className="plain-button" onClick={() => onLine(remark.line)}>
                    {t('deploy.line', { line: remark.line })}
                  </Button>
                ) : (
                  <>
                    {remark.file} {t('deploy.line', { line: remark.line })}
                  </>
                ))}{' '}
              <Typography.Text code>{remark.path}</Typography.Text> {remark.detail}
            </span>
          </Flex>
        </li>
      ))}
    </ul>
  );
}
