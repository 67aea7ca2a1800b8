// What the scan of an image found: which package, by which layer, fixed in which version; and accepting a finding.

import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, DatePicker, Flex, Form, Input, Switch, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { registry, type Allowance, type Finding, type ScanReport } from '../../api/registry';
import { Answer, DataTable, Time } from '../../parts/basics';
import { FormDialog } from '../../parts/dialogs';
import { CheckField, TextField } from '../../parts/fields';
import { short } from '../../parts/format';
import { useMay } from '../../parts/may';
import { useAction } from '../../parts/query';
import { Severity, SEVERITIES, Summary } from './Summary';
import { useClear } from '../../parts/clear';

const RANK = Object.fromEntries(SEVERITIES.map(([level], index) => [level, index]));

export default function Findings({ org, project, url }: { org: string; project: string; url: string }) {
  const { t } = useTranslation();
  const clear = useClear();
  const may = useMay('images.admin', { org, project });
  const scans = useMay('images.write', { org, project });
  const query = useQuery({ queryKey: ['scan', url], queryFn: () => get<ScanReport>(registry.scan(url)) });
  const again = useAction(registry.scanAgain, { done: t('scanners.begun'), refresh: [['scan', url]] });
  const [q, setQ] = useState('');
  const [fixable, setFixable] = useState(false);
  const [accepting, setAccepting] = useState<Finding | null>(null);
  return (
    <Answer query={query}>
      {() => {
        const report = query.data!;
        const wanted = q.trim().toLowerCase();
        const items = report.findings
          .filter((one) => (!fixable || one.fixed_version) && (wanted === '' || [one.id, ...one.aliases, one.package, one.summary].some((text) => text.toLowerCase().includes(wanted))))
          .toSorted((a, b) => (RANK[a.severity] ?? 9) - (RANK[b.severity] ?? 9) || (b.score ?? 0) - (a.score ?? 0));
        return (
          <div className="stack">
            <Card>
              <Flex gap="middle" wrap align="center">
                <Summary scan={report.summary} />
                <Typography.Text>
                  {report.system || t('images.unknownSystem')} · {t('images.packages', { count: report.summary.packages })} · {t('images.database', { name: report.summary.database })} · <Time at={report.summary.at} />
                </Typography.Text>
              </Flex>
            </Card>
            {report.notes.map((note) => (
              <Alert key={note} type="info" showIcon title={note} />
            ))}
            <div>
              <Flex gap="small" align="center" wrap className="toolbar">
                <Input allowClear={clear} aria-label={t('parts.text')} placeholder={t('images.findingFilter')} className="filter" value={q} onChange={(event) => setQ(event.target.value)} />
                <Switch aria-label={t('images.fixable')} checked={fixable} onChange={setFixable} />
                {t('images.fixable')}
                {scans && (
                  <Button loading={again.isPending} onClick={() => again.mutate(url)}>
                    {t('scanners.again')}
                  </Button>
                )}
              </Flex>
              <DataTable<Finding>
                size="small"
                label={t('images.findings')}
                query={{ ...query, items }}
                rowKey={(one) => `${one.id}/${one.package}/${one.path ?? ''}`}
                empty={t('images.nothing')}
                expandable={{ rowExpandable: (one) => one.summary !== '', expandedRowRender: (one) => <Typography.Paragraph>{one.summary}</Typography.Paragraph> }}
                columns={[
                  { title: t('images.severity'), dataIndex: 'severity', render: (level: string) => <Severity level={level} /> },
                  { title: t('images.score'), dataIndex: 'score', render: (score: number | null) => score ?? '–' },
                  { title: t('images.advisory'), render: (_, one) => [one.id, ...one.aliases].join(', ') },
                  { title: t('images.package'), render: (_, one) => `${one.package} ${one.installed_version}` },
                  { title: t('images.fixed'), dataIndex: 'fixed_version', render: (version: string | null) => version ?? '–' },
                  ...(items.some((one) => one.scanners?.length) ? [{ title: t('scanners.found'), render: (_: unknown, one: Finding) => (one.scanners?.length ? one.scanners.join(', ') : 'gantry') }] : []),
                  { title: t('images.layer'), dataIndex: 'layer', render: (layer: string) => <span className="mono">{short(layer)}</span> },
                  {
                    title: t('common.actions'),
                    key: 'do',
                    render: (_, one) =>
                      one.accepted ? (
                        <Tag color="blue">{t('images.accepted', { reason: one.accepted })}</Tag>
                      ) : (
                        may && (
                          <Button size="small" onClick={() => setAccepting(one)}>
                            {t('images.accept')}
                          </Button>
                        )
                      ),
                  },
                ]}
              />
            </div>
            <Accept base={registry.of(org, project)} finding={accepting} url={url} onClose={() => setAccepting(null)} />
          </div>
        );
      }}
    </Answer>
  );
}

interface Values {
  reason: string;
  here?: boolean;
  until?: { toISOString(): string };
}

function Accept({ base, finding, url, onClose }: { base: string; finding: Finding | null; url: string; onClose: () => void }) {
  const { t } = useTranslation();
  const allow = useAction((body: Allowance) => registry.allow(base, body), { done: t('images.wasAccepted'), refresh: [['scan', url], ['registry-settings', base]], onDone: onClose });
  const submit = ({ reason, here, until }: Values) => finding && allow.mutate({ id: finding.id, reason, ...(here ? { package: finding.package } : {}), ...(until ? { until: until.toISOString() } : {}) });
  return (
    <FormDialog<Values> open={finding !== null} title={t('images.acceptOf', { id: finding?.id })} ok={t('images.accept')} pending={allow.isPending} error={allow.error} initial={{ here: true }} onClose={onClose} onSubmit={submit}>
      <Typography.Paragraph type="secondary">{t('images.acceptHelp')}</Typography.Paragraph>
      <TextField name="reason" label={t('audit.reason')} required focus />
      <CheckField name="here" label={t('images.onlyPackage', { name: finding?.package })} />
      <Form.Item name="until" label={t('access.until')} extra={t('images.untilHelp')}>
        <DatePicker showTime className="full" />
      </Form.Item>
    </FormDialog>
  );
}
