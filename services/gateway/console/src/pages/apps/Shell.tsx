// Commands inside of an instance, line by line: a program is started there, and what is written goes to its input.

import { Alert, Button, Flex, Input } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';

import { CLOSE, END, INPUT, message, PROTOCOL } from '../../api/channels';
import { inside, type Container } from '../../api/volumes';

/** Characters that are kept. */
const KEPT = 200_000;

interface Piece {
  /** 0 what was written, 1 output, 2 standard error. */
  channel: number;
  text: string;
}

export function Shell({ at, name }: { at: Container; name: string }) {
  const { t } = useTranslation();
  const [program, setProgram] = useState('sh');
  const [line, setLine] = useState('');
  const [pieces, setPieces] = useState<Piece[]>([]);
  const [state, setState] = useState<'none' | 'opening' | 'open' | 'ended'>('none');
  const [end, setEnd] = useState('');
  const [past, setPast] = useState<string[]>([]);
  const [back, setBack] = useState(0);
  const socket = useRef<WebSocket | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const add = (channel: number, text: string) => setPieces((old) => [...old, { channel, text: text.slice(-KEPT) }].slice(-2_000));

  useEffect(() => () => socket.current?.close(), []);
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [pieces]);

  function open() {
    setPieces([]);
    setEnd('');
    setState('opening');
    const decoders = [new TextDecoder(), new TextDecoder(), new TextDecoder()];
    const own = new WebSocket(inside.exec(at, program.split(/\s+/).filter(Boolean)), PROTOCOL);
    own.binaryType = 'arraybuffer';
    own.addEventListener('open', () => setState('open'));
    own.addEventListener('message', (event) => {
      const bytes = new Uint8Array(event.data as ArrayBuffer);
      const channel = bytes[0] ?? 0;
      if (channel === END) {
        const said = JSON.parse(new TextDecoder().decode(bytes.subarray(1))) as { exit_code?: number; error?: string };
        setEnd(said.error ?? t('inside.exit', { code: said.exit_code }));
      } else if (channel === 1 || channel === 2) add(channel, decoders[channel]!.decode(bytes.subarray(1), { stream: true }));
    });
    own.addEventListener('close', () => {
      if (socket.current !== own) return;
      socket.current = null;
      setState('ended');
    });
    socket.current = own;
  }

  function write() {
    socket.current?.send(message(INPUT, `${line}\n`));
    add(0, `> ${line}\n`);
    if (line !== '') setPast((old) => [...old, line].slice(-100));
    setBack(0);
    setLine('');
  }

  function recall(step: number) {
    const next = Math.min(past.length, Math.max(0, back + step));
    setBack(next);
    setLine(next === 0 ? '' : (past[past.length - next] ?? ''));
  }

  const live = state === 'open' || state === 'opening';
  return (
    <div className="stack">
      <Flex gap="small" wrap align="center">
        <label htmlFor="program">{t('inside.program')}</label>
        <Input id="program" className="mono filter" value={program} disabled={live} onChange={(event) => setProgram(event.target.value)} onPressEnter={open} />
        {live ? (
          <Button onClick={() => socket.current?.send(new Uint8Array([CLOSE, INPUT]))}>{t('inside.endInput')}</Button>
        ) : (
          <Button type="primary" disabled={program.trim() === ''} onClick={open}>
            {t('inside.begin')}
          </Button>
        )}
        {live && <Button onClick={() => socket.current?.close()}>{t('inside.stop')}</Button>}
      </Flex>
      <div className="log" role="log" aria-label={t('inside.output', { name })} tabIndex={0} ref={box}>
        {pieces.length === 0 && <span className="log-empty">{t('inside.nothing')}</span>}
        {pieces.map((piece, index) => (
          // eslint-disable-next-line react/no-array-index-key -- pieces have no other name than their place
          <span key={index} className={piece.channel === 2 ? 'log-err' : piece.channel === 0 ? 'log-source' : ''}>
            {piece.text}
          </span>
        ))}
      </div>
      {state === 'ended' && <Alert type="info" showIcon title={end || t('inside.gone')} />}
      <Input
        className="mono"
        aria-label={t('inside.line')}
        placeholder={t('inside.line')}
        value={line}
        disabled={state !== 'open'}
        autoComplete="off"
        onChange={(event) => setLine(event.target.value)}
        onPressEnter={write}
        onKeyDown={(event) => {
          if (event.key === 'ArrowUp') recall(1);
          else if (event.key === 'ArrowDown') recall(-1);
        }}
      />
    </div>
  );
}
