// A terminal in an instance: a program on a terminal of its own there, with colours, keys and full-screen programs.

import '@xterm/xterm/css/xterm.css';

import { ExpandOutlined } from '@ant-design/icons';
import { FitAddon } from '@xterm/addon-fit';
import { Terminal as Screen } from '@xterm/xterm';
import { Alert, AutoComplete, Button, Flex } from 'antd';
import { useCallback, useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';

import { CLOSE, END, ERRORS, INPUT, message, OUTPUT, PROTOCOL, sizeMessage } from '../../api/channels';
import { ApiError, get } from '../../api/http';
import { inside, type Container } from '../../api/volumes';
import { ProblemView } from '../../parts/basics';
import { commandOf, PROGRAMS } from './command';

const FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Noto Sans Mono CJK SC', monospace";
const THEME = { background: '#0b0e14', foreground: '#d6dbe4', cursor: '#d6dbe4', selectionBackground: '#33507a' };

type State = 'none' | 'opening' | 'open' | 'ended';

export default function Terminal({ at, name, tall }: { at: Container; name: string; tall?: boolean }) {
  const { t } = useTranslation();
  const [program, setProgram] = useState(PROGRAMS[0]!);
  const [state, setState] = useState<State>('none');
  const [end, setEnd] = useState('');
  const [refused, setRefused] = useState<ApiError | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const screen = useRef<Screen | null>(null);
  const socket = useRef<WebSocket | null>(null);
  /** What was typed before the connection was there. */
  const early = useRef<Uint8Array<ArrayBuffer>[]>([]);
  const label = t('terminal.of', { name });

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    Screen.strings.promptLabel = label;
    const own = new Screen({ fontFamily: FONT, fontSize: 13, theme: THEME, scrollback: 10_000, cursorBlink: true, macOptionIsMeta: true });
    const fit = new FitAddon();
    own.loadAddon(fit);
    own.open(element);
    fit.fit();
    screen.current = own;
    const send = (bytes: Uint8Array<ArrayBuffer>) => {
      if (socket.current?.readyState === WebSocket.OPEN) socket.current.send(bytes);
      else if (socket.current?.readyState === WebSocket.CONNECTING) early.current.push(bytes);
    };
    own.onData((text) => send(message(INPUT, text)));
    own.onBinary((text) => send(message(INPUT, Uint8Array.from(text, (each) => each.charCodeAt(0)))));
    own.onResize(({ cols, rows }) => send(sizeMessage(cols, rows)));
    // Ctrl+C is the program's; with Shift it copies, as in other terminals.
    own.attachCustomKeyEventHandler((event) => {
      if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey || event.code !== 'KeyC') return true;
      event.preventDefault();
      void navigator.clipboard?.writeText(own.getSelection());
      return false;
    });
    const resize = new ResizeObserver(() => fit.fit());
    resize.observe(element);
    return () => {
      resize.disconnect();
      socket.current?.close();
      socket.current = null;
      screen.current = null;
      own.dispose();
    };
  }, [label]);

  /** A refused WebSocket does not say why; the same question without one does. */
  const ask = useCallback(async (url: string) => {
    try {
      await get(url);
    } catch (error) {
      // 400: it wants a WebSocket, so nothing else was in the way.
      if (error instanceof ApiError && error.status !== 400) return error;
    }
    return null;
  }, []);

  function open() {
    const own = screen.current;
    if (!own) return;
    own.reset();
    setEnd('');
    setRefused(null);
    early.current = [];
    setState('opening');
    const url = inside.exec(at, commandOf(program), true);
    const next = new WebSocket(url, PROTOCOL);
    let opened = false;
    next.binaryType = 'arraybuffer';
    next.addEventListener('open', () => {
      opened = true;
      setState('open');
      next.send(sizeMessage(own.cols, own.rows));
      for (const bytes of early.current.splice(0)) next.send(bytes);
      own.focus();
    });
    next.addEventListener('message', (event) => {
      const bytes = new Uint8Array(event.data as ArrayBuffer);
      const channel = bytes[0];
      if (channel === OUTPUT || channel === ERRORS) own.write(bytes.subarray(1));
      else if (channel === END) {
        const said = JSON.parse(new TextDecoder().decode(bytes.subarray(1))) as { exit_code?: number; error?: string };
        setEnd(said.error ?? t('terminal.exit', { code: said.exit_code }));
      }
    });
    next.addEventListener('close', () => {
      if (socket.current !== next) return;
      socket.current = null;
      setState('ended');
      if (opened) return;
      setEnd(t('terminal.denied'));
      void ask(url.replace(/^ws/, 'http')).then(setRefused);
    });
    socket.current = next;
    own.focus();
  }

  function stop() {
    socket.current?.send(new Uint8Array([CLOSE, INPUT]));
    socket.current?.close();
  }

  const live = state === 'open' || state === 'opening';
  return (
    <div className="terminal-frame" ref={frame}>
      <Flex gap="small" wrap align="center" className="toolbar">
        <AutoComplete aria-label={t('inside.program')} className="filter" value={program} disabled={live} onChange={setProgram} options={PROGRAMS.map((value) => ({ value }))} />
        {live ? (
          <Button onClick={stop}>{t('terminal.stop')}</Button>
        ) : (
          <Button type="primary" disabled={program.trim() === ''} onClick={open}>
            {t(state === 'none' ? 'terminal.begin' : 'terminal.again')}
          </Button>
        )}
        <Button icon={<ExpandOutlined />} onClick={() => void frame.current?.requestFullscreen?.()}>
          {t('terminal.full')}
        </Button>
      </Flex>
      {state === 'none' && <Alert className="toolbar" type="info" showIcon title={t('terminal.help')} />}
      {state === 'ended' && (refused ? <ProblemView error={refused} /> : <Alert className="toolbar" type="info" showIcon title={end || t('terminal.lost')} />)}
      <section className={tall ? 'terminal terminal-tall' : 'terminal'} ref={box} aria-label={label} />
    </div>
  );
}
