// Signs of an intrusion, the newest first, and one of them with what it means and what can be done.

import { Alert, Button, Descriptions, Drawer, Flex, Tag, Tooltip, Typography } from 'antd';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import type { Sign } from '../../api/signs';
import { DataTable, LinkButton, Time } from '../../parts/basics';
import { formatTime } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useNames } from '../../parts/names';
import { NodeLink } from '../../parts/NodeLink';
import { to } from '../../place';
import { Acknowledge } from './Acknowledge';

/** Of a space: organisation, project, space. */
export type Place = [string, string, string];

interface Props {
  query: { items: Sign[]; isPending: boolean; error: unknown; refetch: () => unknown };
  place: Place;
  empty: string;
  emptyAction?: ReactNode;
  /** Of one application, whose name is known. */
  one?: boolean;
}

const KINDS: Record<string, string> = { program: 'red', privilege: 'volcano', connection: 'orange' };
const ACTIONS: Record<string, string> = { restart: 'blue', stop: 'purple', quarantine: 'magenta' };

export function SignsTable({ query, place, empty, emptyAction, one: single = false }: Props) {
  const { t } = useTranslation();
  const [chosen, setChosen] = useState<number | null>(null);
  // As the list has it now: somebody else may acknowledge it meanwhile.
  const open = query.items.find((one) => one.number === chosen) ?? null;
  const names = useNames(query.items.flatMap((one) => (one.acknowledged ? [one.acknowledged.by] : [])));
  return (
    <>
      <DataTable<Sign>
        label={t('menu.signs')}
        query={query}
        rowKey="number"
        empty={empty}
        emptyAction={emptyAction}
        search={(one) => [one.app, one.node, one.container, one.sign, one.detail, one.instance, one.acknowledged?.reason].join(' ')}
        columns={[
          { title: t('audit.when'), render: (_, one) => <Time at={one.at} /> },
          { title: t('signs.kind'), render: (_, one) => <KindTag kind={one.sign} /> },
          {
            title: t('signs.what'),
            render: (_, one) => (
              <Button type="link" size="small" className="plain-button kind-button cell" onClick={() => setChosen(one.number)}>
                {one.detail}
              </Button>
            ),
          },
          ...(single ? [] : [{ title: t('deploy.app'), render: (_: unknown, one: Sign) => <Link to={to.app(...place, one.app)}>{one.app}</Link> }]),
          { title: t('logs.instance'), render: (_, one) => <InstanceLink sign={one} place={place} /> },
          { title: t('apps.node'), render: (_, one) => <NodeLink node={one.node} /> },
          { title: t('signs.followed'), render: (_, one) => <ActionTag action={one.action} /> },
          { title: t('common.state'), render: (_, one) => <Standing of={one.acknowledged} name={names(one.acknowledged?.by)} /> },
        ]}
      />
      <Drawer open={open !== null} onClose={() => setChosen(null)} size="large" title={open && t(`signs.kinds.${open.sign}`, { defaultValue: open.sign })} destroyOnHidden>
        {open && <Detail sign={open} place={place} name={names(open.acknowledged?.by)} />}
      </Drawer>
    </>
  );
}

function KindTag({ kind }: { kind: string }) {
  const { t } = useTranslation();
  return <Tag color={KINDS[kind] ?? 'default'}>{t(`signs.kinds.${kind}`, { defaultValue: kind })}</Tag>;
}

function ActionTag({ action }: { action: string }) {
  const { t } = useTranslation();
  return <Tag color={ACTIONS[action] ?? 'default'}>{t(`signs.actions.${action}`, { defaultValue: action })}</Tag>;
}

/** Open, or who has acknowledged it. */
function Standing({ of, name }: { of: Sign['acknowledged']; name: string }) {
  const { t } = useTranslation();
  if (!of) return <Tag color="red">{t('signs.open')}</Tag>;
  return (
    <Tooltip title={of.reason}>
      <Tag>{t('signs.acknowledgedBy', { name })}</Tag>
    </Tooltip>
  );
}

/** Its page says so if it has ended. */
function InstanceLink({ sign, place }: { sign: Sign; place: Place }) {
  return (
    <Link className="mono" to={to.instance(...place, sign.app, sign.instance)}>
      …{sign.instance.slice(-7)}
    </Link>
  );
}

function Detail({ sign, place, name }: { sign: Sign; place: Place; name: string }) {
  const { t, i18n } = useTranslation();
  const exec = useMay('apps.exec', { org: place[0], project: place[1], space: place[2] });
  const advice = `signs.advice.${sign.sign}`;
  return (
    <div className="stack">
      {i18n.exists(advice) && <Alert type="warning" showIcon title={t(advice)} description={t('signs.next')} />}
      <Descriptions
        column={1}
        size="small"
        bordered
        items={[
          { key: 'at', label: t('audit.when'), children: <time dateTime={sign.at}>{formatTime(sign.at, i18n.language)}</time> },
          { key: 'what', label: t('signs.what'), children: <Typography.Text className="mono" copyable={{ tooltips: [t('common.copy'), t('common.copied')] }}>{sign.detail}</Typography.Text> },
          { key: 'action', label: t('signs.followed'), children: <ActionTag action={sign.action} /> },
          { key: 'app', label: t('deploy.app'), children: <Link to={to.app(...place, sign.app)}>{sign.app}</Link> },
          { key: 'instance', label: t('logs.instance'), children: <Typography.Text className="mono" copyable={{ tooltips: [t('common.copy'), t('common.copied')] }}>{sign.instance}</Typography.Text> },
          { key: 'container', label: t('terminal.container'), children: sign.container === 'main' ? t('terminal.main') : sign.container },
          { key: 'node', label: t('apps.node'), children: <NodeLink node={sign.node} /> },
          {
            key: 'acknowledged',
            label: t('signs.acknowledged'),
            children: sign.acknowledged ? (
              <>
                {t('signs.byAt', { name, at: formatTime(sign.acknowledged.at, i18n.language) })}
                <br />
                {sign.acknowledged.reason}
              </>
            ) : (
              t('signs.notYet')
            ),
          },
        ]}
      />
      <Flex gap="small" wrap>
        {!sign.acknowledged && <Acknowledge sign={sign} place={place} />}
        {exec && <LinkButton to={`${to.instance(...place, sign.app, sign.instance)}?tab=processes`}>{t('inside.processes')}</LinkButton>}
        <LinkButton to={`${to.instance(...place, sign.app, sign.instance)}?tab=logs`}>{t('apps.logs')}</LinkButton>
        <LinkButton to={`${to.signs(...place)}?tab=follow`}>{t('signs.follow')}</LinkButton>
      </Flex>
    </div>
  );
}
