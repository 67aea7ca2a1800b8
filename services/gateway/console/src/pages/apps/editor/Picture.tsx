// The picture of an application beside its list, with what one can be added to it and what the chosen box says.

import { RedoOutlined, UndoOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Flex } from 'antd';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

import { BoxForm } from './BoxForm';
import { Canvas, DRAGGED } from './Canvas';
import { addRoute, addService, addVolume, addWorkload, connect, without } from './model';
import { arrowsOf, boxesOf, faulty, type Kind, type Spot } from './drawing';
import { turnByKey } from './turnByKey';
import type { Sheet } from './useSheet';

const ADD: Record<Exclude<Kind, 'node'>, typeof addWorkload> = { workload: addWorkload, service: addService, volume: addVolume, route: addRoute };

/** Where boxes were put is kept in this browser; it is no part of the application. */
function useSpots(key: string): [Record<string, Spot>, (id: string, spot: Spot) => void, () => void] {
  const place = `gantry.picture.${key}`;
  const [spots, setSpots] = useState<Record<string, Spot>>(() => {
    try {
      return JSON.parse(localStorage.getItem(place) ?? '{}') as Record<string, Spot>;
    } catch {
      return {};
    }
  });
  const keep = (next: Record<string, Spot>) => localStorage.setItem(place, JSON.stringify(next));
  const move = (id: string, spot: Spot) =>
    setSpots((old) => {
      const next = { ...old, [id]: spot };
      keep(next);
      return next;
    });
  const reset = () => {
    setSpots({});
    localStorage.removeItem(place);
  };
  return [spots, move, reset];
}

/** `file` stands beside the chosen box's fields. */
export function Picture({ sheet, place, file }: { sheet: Sheet; place: string; file: ReactNode }) {
  const { t } = useTranslation();
  const [spots, move, reset] = useSpots(place);
  const [selected, setSelected] = useState<string | null>(null);
  const { model } = sheet;
  const boxes = boxesOf(model, spots);
  const arrows = arrowsOf(model);
  const wrong = faulty(boxes, sheet.remarks);
  const add = (kind: Kind, at?: Spot) => {
    if (kind === 'node') return;
    const added = ADD[kind](model);
    if (at) move(added.id, at);
    sheet.edit(added.edit);
    setSelected(added.id);
  };
  const remove = (id: string) => {
    sheet.edit(without(model, id));
    setSelected(null);
  };
  return (
    <>
    <Card
      title={t('editor.picture')}
      extra={
        <Flex gap="small">
          <Button size="small" icon={<UndoOutlined />} aria-label={t('editor.undo')} title={t('editor.undoKeys')} disabled={sheet.steps.back === 0} onClick={() => sheet.turn('back')} />
          <Button size="small" icon={<RedoOutlined />} aria-label={t('editor.redo')} title={t('editor.redoKeys')} disabled={sheet.steps.forth === 0} onClick={() => sheet.turn('forth')} />
          <Button size="small" onClick={reset}>
            {t('editor.arrange')}
          </Button>
        </Flex>
      }
    >
      <div className="stack">
        <Flex gap="small" wrap role="group" aria-label={t('editor.palette')}>
          {(['workload', 'service', 'route', 'volume'] as const).map((kind) => (
            <Button key={kind} size="small" draggable onDragStart={(event) => event.dataTransfer.setData(DRAGGED, kind)} onClick={() => add(kind)}>
              {t(`editor.add.${kind}`)}
            </Button>
          ))}
        </Flex>
        {sheet.stale && <Alert type="warning" showIcon title={t('editor.stale')} />}
        {sheet.unwritten && <Alert type="warning" showIcon title={t('editor.unwritten')} />}
        <Canvas
          boxes={boxes}
          arrows={arrows}
          selected={selected}
          faulty={wrong}
          label={t('editor.picture')}
          onSelect={setSelected}
          onMove={move}
          onRemove={remove}
          onConnect={(from, to) => {
            const edit = connect(model, from, to);
            if (edit) sheet.edit(edit);
          }}
          onDrop={add}
          onKey={turnByKey(sheet)}
        />
      </div>
    </Card>
    <div className="two two-even">
      <Card title={t('editor.parts')}>
        <div className="editor-parts">
          <ul className="plain parts" aria-label={t('editor.parts')}>
            {boxes.map((box) => (
              <li key={box.id}>
                <Button type={box.id === selected ? 'primary' : 'text'} size="small" aria-pressed={box.id === selected} onClick={() => setSelected(box.id)}>
                  {t(`editor.kind.${box.kind}`)} {box.name}
                </Button>
                <small>
                  {arrows
                    .filter((arrow) => arrow.from === box.id)
                    .map((arrow) => t(`editor.arrow.${arrow.kind}`, { name: boxes.find((one) => one.id === arrow.to)?.name ?? '' }))
                    .join(', ')}
                </small>
              </li>
            ))}
          </ul>
          <BoxForm model={model} id={selected ?? ''} onEdit={sheet.edit} onSelect={setSelected} />
        </div>
      </Card>
      {file}
    </div>
    </>
  );
}
