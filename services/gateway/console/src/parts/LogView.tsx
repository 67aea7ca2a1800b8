// Lines as they come. Keeps the last few thousand, stays at the end unless the reader scrolls up.

import { DownloadOutlined, PauseOutlined, PlayCircleOutlined, SearchOutlined } from '@ant-design/icons';
import { Button, Flex, Input, Typography } from 'antd';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';

import type { ApiError } from '../api/http';
import { follow } from '../api/sse';
import { LiveMark, ProblemView } from './basics';
import type { Live } from './query';
import { useClear } from './clear';
import { saveText } from './save';

export interface Line {
  at?: string;
  text: string;
  stream?: string;
  source?: string;
  /** Which start of its instance wrote it: 0, 1, ... */
  attempt?: number;
}

const KEPT = 5_000;

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
  const [lines, setLines] = useState<Line[]>([]);
  const [live, setLive] = useState<Live>('connecting');
  const [refused, setRefused] = useState<ApiError | null>(null);
  const [paused, setPaused] = useState(false);
  const [filter, setFilter] = useState('');
  const box = useRef<HTMLDivElement>(null);
  const reader = useRef(read);
  reader.current = read;

  useEffect(() => {
    setLines([]);
    setRefused(null);
    setLive('connecting');
    let waiting: Line[] = [];
    let ended = false;
    const flush = setInterval(() => {
      if (waiting.length === 0) return;
      const more = waiting;
      waiting = [];
      setLines((old) => [...old, ...more].slice(-KEPT));
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
        else waiting.push(...reader.current(event.data, event.event));
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

  useEffect(() => {
    if (!paused && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, paused]);

  const shown = useMemo(() => {
    const wanted = filter.toLowerCase();
    const attempts = [...new Set(lines.map((line) => line.attempt ?? 0))].toSorted((a, b) => b - a);
    const attempt = run === 'all' ? null : run === 'last' ? attempts[0] : (attempts[1] ?? -1);
    return lines.filter((line) => (attempt === null || (line.attempt ?? 0) === attempt) && (wanted === '' || line.text.toLowerCase().includes(wanted)));
  }, [lines, filter, run]);

  function download() {
    const text = lines.map((line) => [line.at, line.source, line.text].filter(Boolean).join(' ')).join('\n');
    saveText(`${name}.log`, text);
  }

  if (refused) return <ProblemView error={refused} />;
  return (
    <div>
      <Flex gap="small" align="center" wrap className="toolbar">
        <Input allowClear={clear} prefix={<SearchOutlined />} aria-label={t('logs.filter')} placeholder={t('logs.filter')} value={filter} onChange={(event) => setFilter(event.target.value)} className="filter" />
        <Button icon={paused ? <PlayCircleOutlined /> : <PauseOutlined />} onClick={() => setPaused(!paused)}>
          {paused ? t('logs.follow') : t('logs.pause')}
        </Button>
        <Button icon={<DownloadOutlined />} onClick={download} disabled={lines.length === 0}>
          {t('common.download')}
        </Button>
        <LiveMark live={live} />
        <Typography.Text type="secondary">{t('logs.count', { count: shown.length })}</Typography.Text>
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
          if (paused === atEnd) setPaused(!atEnd);
        }}
      >
        {shown.length === 0 ? (
          <span className="log-empty">{t('logs.empty')}</span>
        ) : (
          shown.map((line, index) => (
            <div key={index} className={line.stream === 'stderr' ? 'log-line log-err' : 'log-line'}>
              {line.at && <span className="log-at">{line.at.slice(11, 23)}</span>}
              {line.source && <span className="log-source">{line.source}</span>}
              {line.text}
            </div>
          ))
        )}
      </div>
    </div>
  );
}
