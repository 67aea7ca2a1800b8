// Boxes on a canvas: dragged by pointer or arrow keys, joined by dragging from the dot at their side or with the key C.

import { MinusOutlined, PlusOutlined } from '@ant-design/icons';
import { Button, Flex } from 'antd';
import { useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import { useTranslation } from 'react-i18next';

import { curve, HEIGHT, WIDTH, type Arrow, type Box, type Kind, type Spot } from './drawing';

interface Props {
  boxes: Box[];
  arrows: Arrow[];
  selected: string | null;
  /** Boxes that something is wrong with, and what. */
  faulty?: Map<string, string>;
  /** Further classes of a box, such as its state. */
  look?: (box: Box) => string;
  label: string;
  onSelect: (id: string) => void;
  onMove: (id: string, to: Spot) => void;
  /** Nothing given: only to be looked at. */
  onConnect?: (from: string, to: string) => void;
  onRemove?: (id: string) => void;
  onDrop?: (kind: Kind, at: Spot) => void;
  /** Keys that are about the whole. */
  onKey?: (event: KeyboardEvent) => void;
}

type Drag = { id: string; how: 'move' | 'link'; dx: number; dy: number; moved: boolean };

const STEP = 20;
/** How small and how large it can be shown. */
const LEAST = 0.25;
const MOST = 2;
const ZOOM = 0.25;
const STEPS: Record<string, [number, number]> = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

/** What is dragged from the palette. */
export const DRAGGED = 'application/x-gantry-part';

export function Canvas({ boxes, arrows, selected, faulty, look, label, onSelect, onMove, onConnect, onRemove, onDrop, onKey }: Props) {
  const { t } = useTranslation();
  const area = useRef<HTMLDivElement>(null);
  const drag = useRef<Drag | null>(null);
  const [line, setLine] = useState<{ from: Spot; to: Spot } | null>(null);
  const [linking, setLinking] = useState<string | null>(null);
  const [scale, setScale] = useState(1);
  const frame = useRef<HTMLDivElement>(null);
  const at = new Map(boxes.map((box) => [box.id, box]));
  const width = Math.max(600, ...boxes.map((box) => box.x + WIDTH + 40));
  const height = Math.max(300, ...boxes.map((box) => box.y + HEIGHT + 40));

  const spot = (event: { clientX: number; clientY: number }): Spot => {
    const edge = area.current!.getBoundingClientRect();
    return { x: (event.clientX - edge.left) / scale, y: (event.clientY - edge.top) / scale };
  };
  const begin = (event: PointerEvent<HTMLElement>, box: Box, how: Drag['how']) => {
    if (event.button !== 0) return;
    event.stopPropagation();
    const here = spot(event);
    drag.current = { id: box.id, how, dx: here.x - box.x, dy: here.y - box.y, moved: false };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent<HTMLElement>) => {
    const now = drag.current;
    const box = now && at.get(now.id);
    if (!now || !box) return;
    const here = spot(event);
    const next = { x: Math.max(0, Math.round(here.x - now.dx)), y: Math.max(0, Math.round(here.y - now.dy)) };
    if (!now.moved && Math.hypot(next.x - box.x, next.y - box.y) < 4) return;
    now.moved = true;
    if (now.how === 'move') onMove(now.id, next);
    else setLine({ from: { x: box.x, y: box.y }, to: { x: here.x, y: here.y - HEIGHT / 2 } });
  };
  const end = (event: PointerEvent<HTMLElement>) => {
    const now = drag.current;
    drag.current = null;
    setLine(null);
    if (now?.how !== 'link') return;
    const target = document.elementsFromPoint(event.clientX, event.clientY).map((element) => element.closest<HTMLElement>('[data-box]')?.dataset.box);
    const to = target.find((id) => id !== undefined && id !== now.id);
    if (to !== undefined) onConnect?.(now.id, to);
  };
  const whole = () => {
    const room = frame.current;
    if (room) setScale(Math.max(LEAST, Math.min(1, room.clientWidth / width, room.clientHeight / height)));
  };
  const zoom = (by: number) => setScale((now) => Math.round(Math.min(MOST, Math.max(LEAST, now + by)) * 100) / 100);
  const key = (event: KeyboardEvent, box: Box) => {
    const step = STEPS[event.key];
    if (step) onMove(box.id, { x: Math.max(0, box.x + step[0]), y: Math.max(0, box.y + step[1]) });
    else if ((event.key === 'Delete' || event.key === 'Backspace') && onRemove) onRemove(box.id);
    else if (event.key === 'c' && onConnect) setLinking(box.id);
    else if (event.key === 'Escape') setLinking(null);
    else return;
    event.preventDefault();
  };

  return (
    <>
    <Flex gap={4} justify="end" role="group" aria-label={t('editor.zoom')}>
      <Button size="small" icon={<MinusOutlined />} aria-label={t('editor.smaller')} disabled={scale <= LEAST} onClick={() => zoom(-ZOOM)} />
      <Button size="small" aria-label={t('editor.plainSize')} onClick={() => setScale(1)}>
        {`${Math.round(scale * 100)} %`}
      </Button>
      <Button size="small" icon={<PlusOutlined />} aria-label={t('editor.larger')} disabled={scale >= MOST} onClick={() => zoom(ZOOM)} />
      <Button size="small" onClick={whole}>
        {t('editor.wholePicture')}
      </Button>
    </Flex>
    {/* eslint-disable-next-line jsx-a11y/no-static-element-interactions -- the palette's buttons do the same by keyboard */}
    <div
      className="canvas"
      ref={frame}
      onKeyDown={onKey}
      onDragOver={(event) => onDrop && event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        const kind = event.dataTransfer.getData(DRAGGED) as Kind;
        const here = spot(event);
        if (kind) onDrop?.(kind, { x: Math.max(0, Math.round(here.x - WIDTH / 2)), y: Math.max(0, Math.round(here.y - HEIGHT / 2)) });
      }}
    >
      <div style={{ width: width * scale, height: height * scale }}>
      <div className="canvas-area" role="group" aria-label={label} ref={area} style={{ width, height, transform: `scale(${scale})`, transformOrigin: '0 0' }}>
        <svg width={width} height={height} aria-hidden>
          <defs>
            <marker id="arrow-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
              <path d="M 0 0 L 8 4 L 0 8 z" />
            </marker>
          </defs>
          {arrows.map((arrow) => {
            const [from, to] = [at.get(arrow.from), at.get(arrow.to)];
            if (!from || !to) return null;
            return <path key={`${arrow.from}>${arrow.to}`} className={`arrow arrow-${arrow.kind}`} data-arrow={`${arrow.from}>${arrow.to}`} d={curve(from, to)} markerEnd="url(#arrow-head)" />;
          })}
          {line && <path className="arrow" d={curve(line.from, line.to)} />}
        </svg>
        {boxes.map((box) => (
          <button
            key={box.id}
            type="button"
            data-box={box.id}
            className={['box', `box-${box.kind}`, box.id === selected ? 'box-selected' : '', faulty?.has(box.id) ? 'box-faulty' : '', look?.(box) ?? ''].join(' ')}
            style={{ left: box.x, top: box.y, width: WIDTH, height: HEIGHT }}
            aria-pressed={box.id === selected}
            title={faulty?.get(box.id)}
            aria-label={`${t(`editor.kind.${box.kind}`)} ${box.name}${box.detail ? `, ${box.detail}` : ''}${faulty?.has(box.id) ? `, ${t('editor.faulty')}: ${faulty.get(box.id)}` : ''}`}
            onPointerDown={(event) => begin(event, box, 'move')}
            onPointerMove={move}
            onPointerUp={end}
            onKeyDown={(event) => key(event, box)}
            onClick={() => {
              if (linking !== null && linking !== box.id) onConnect?.(linking, box.id);
              else onSelect(box.id);
              setLinking(null);
            }}
          >
            <span className="box-kind">{t(`editor.kind.${box.kind}`)}</span>
            <span className="box-name">{box.name}</span>
            <span className="box-detail">{box.detail}</span>
            {onConnect && box.kind !== 'volume' && <span className="box-dot" data-testid={`dot ${box.id}`} onPointerDown={(event) => begin(event, box, 'link')} onPointerMove={move} onPointerUp={end} />}
          </button>
        ))}
      </div>
      </div>
      <output className="canvas-hint">{linking !== null ? t('editor.linking', { name: at.get(linking)?.name ?? '' }) : onConnect ? t('editor.keys') : ''}</output>
    </div>
    </>
  );
}
