// Lines as they come. Stays at the end unless the reader scrolls up; then nothing moves until asked to follow again.

import { DownloadOutlined, PauseOutlined, PlayCircleOutlined, SearchOutlined } from '@ant-design/icons';
import { Button, Flex, Input, Typography } from 'antd';
import { memo, useEffect, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';

import type { ApiError } from '../api/http';
import { follow } from '../api/sse';
import { LiveMark, ProblemView } from './basics';
import { useClear } from './clear';
import { clockOf } from './format';
import { appended, DRAWN, drawn, selectedLines, type Line, type Numbered } from './lines';
import type { Live } from './query';
import { saveText } from './save';

interface Props {
  /** A stream of events whose data `read` turns into lines. */
  url: string;
  read: (data: string, event: string) => Line[];
  name: string;
  /** An event by this name ends the log. */
  end?: string;
  /** Of one instance: only what its last start wrote, or the one before it. */
  run?: 'all' | 'last' | 'before';
}

export function LogView({ url, read, name, end, run = 'all' }: Props) {
  const { t } = useTranslation();
  const clear = useClear();
  const [lines, setLines] = useState<Numbered[]>([]);
  const [live, setLive] = useState<Live>('connecting');
  const [refused, setRefused] = useState<ApiError | null>(null);
  /** The number of the last line that the reader who has stopped sees. */
  const [until, setUntil] = useState<number | null>(null);
  const [most, setMost] = useState(DRAWN);
  const [filter, setFilter] = useState('');
  const box = useRef<HTMLDivElement>(null);
  /** Where the box was scrolled to: only the reader scrolls up. */
  const was = useRef(0);
  const reader = useRef(read);
  reader.current = read;

  useEffect(() => {
    setLines([]);
    setRefused(null);
    setLive('connecting');
    setUntil(null);
    setMost(DRAWN);
    let waiting: Line[] = [];
    let ended = false;
    const flush = setInterval(() => {
      if (waiting.length === 0) return;
      const more = waiting;
      waiting = [];
      setLines((old) => appended(old, more));
    }, 150);
    const stop = follow(url, {
      onOpen: () => setLive('live'),
      onLost: () => setLive('lost'),
      onRefused: (error) => {
        setLive('off');
        setRefused(error);
      },
      onEvent: (event) => {
        if (event.event === end) ended = true;
        // Why the stream ends; the next one goes on.
        else if (event.event !== 'problem') waiting.push(...reader.current(event.data, event.event));
      },
      onEnd: () => {
        if (ended) setLive('off');
        return !ended;
      },
    });
    return () => {
      clearInterval(flush);
      stop();
    };
  }, [url, end]);

  const chosen = useMemo(() => selectedLines(lines, { text: filter, run }), [lines, filter, run]);
  const { shown, earlier, waiting: later } = useMemo(() => drawn(chosen, most, until), [chosen, most, until]);
  const paused = until !== null;
  const last = lines.at(-1)?.no ?? -1;

  useEffect(() => {
    if (!paused && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, paused]);

  function turn(stop: boolean) {
    setUntil(stop ? last : null);
    if (!stop) setMost(DRAWN);
  }

  function download() {
    const text = lines.map((line) => [line.at, line.source, line.text].filter(Boolean).join(' ')).join('\n');
    saveText(`${name}.log`, text);
  }

  if (refused) return <ProblemView error={refused} />;
  return (
    <div>
      <Flex gap="small" align="center" wrap className="toolbar">
        <Input allowClear={clear} prefix={<SearchOutlined />} aria-label={t('logs.filter')} placeholder={t('logs.filter')} value={filter} onChange={(event) => setFilter(event.target.value)} className="filter" />
        <Button icon={paused ? <PlayCircleOutlined /> : <PauseOutlined />} onClick={() => turn(!paused)}>
          {paused ? (later > 0 ? t('logs.followNew', { count: later }) : t('logs.follow')) : t('logs.pause')}
        </Button>
        <Button icon={<DownloadOutlined />} onClick={download} disabled={lines.length === 0}>
          {t('common.download')}
        </Button>
        <LiveMark live={live} />
        <Typography.Text type="secondary">{t('logs.count', { count: chosen.length })}</Typography.Text>
      </Flex>
      <div
        className="log"
        role="log"
        aria-label={name}
        tabIndex={0}
        ref={box}
        onScroll={(event) => {
          const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
          const atEnd = scrollHeight - scrollTop - clientHeight < 40;
          const up = scrollTop < was.current;
          was.current = scrollTop;
          if (!paused && up && !atEnd) turn(true);
          // What waits is shown by the button: it would move what is being read.
          else if (paused && !up && atEnd && later === 0) turn(false);
        }}
      >
        {earlier > 0 && (
          <Button size="small" className="log-earlier" onClick={() => { setUntil((old) => old ?? last); setMost((old) => old + DRAWN); }}>
            {t('logs.earlier', { count: earlier })}
          </Button>
        )}
        {shown.length === 0 ? <span className="log-empty">{t('logs.empty')}</span> : shown.map((line) => <Row key={line.no} line={line} />)}
      </div>
    </div>
  );
}

const Row = memo(function Row({ line }: { line: Numbered }) {
  return (
    <div className={line.stream === 'stderr' ? 'log-line log-err' : 'log-line'}>
      {line.at && (
        <span className="log-at" title={line.at}>
          {clockOf(line.at)}
        </span>
      )}
      {line.source && <span className="log-source">{line.source}</span>}
      {line.text}
    </div>
  );
});
