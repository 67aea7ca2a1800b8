// Who did what, when, from where, with which result. Searched by the service, page by page.

import { DownloadOutlined, SafetyCertificateOutlined } from '@ant-design/icons';
import { Button, DatePicker, Flex, Form, Input, Modal, Result, Select } from 'antd';
import dayjs from 'dayjs';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { withQuery } from '../api/http';
import { monitoring, type Proof } from '../api/monitoring';
import { AuditTable } from '../parts/AuditTable';
import { PageHeader } from '../parts/basics';
import { UserSelect } from '../parts/fields';
import { useFilters } from '../parts/listing';
import { useAdministered } from '../parts/me';
import { useAction } from '../parts/query';
import { useClear } from '../parts/clear';

interface Values {
  q?: string;
  actor?: string;
  kind?: string;
  object?: string;
  result?: string;
  org?: string;
  between?: [{ toISOString(): string } | null, { toISOString(): string } | null] | null;
}

/** As the service names them. */
const FILTERS = ['q', 'actor', 'kind', 'object', 'org', 'result', 'from', 'to'] as const;

/** Nothing where it is no time. */
const timeOf = (text?: string) => (text !== undefined && dayjs(text).isValid() ? dayjs(text) : null);

export default function Audit() {
  const { t } = useTranslation();
  const clear = useClear();
  const { admin, own } = useAdministered();
  const [filter, change] = useFilters(FILTERS);
  const search = ({ between, ...values }: Values) => change({ ...Object.fromEntries(FILTERS.map((name) => [name, undefined])), ...values, from: between?.[0]?.toISOString(), to: between?.[1]?.toISOString() });
  const programs = ['system', 'anonymous', ...['identity', 'registry', 'scheduler', 'cicd', 'catalog', 'billing', 'monitoring'].map((name) => `service:${name}`)];
  return (
    <>
      <PageHeader
        title={t('menu.audit')}
        sub={t('audit.sub')}
        actions={
          <>
            {admin && <Verify />}
            {(['csv', 'jsonl'] as const).map((format) => (
              <Button key={format} icon={<DownloadOutlined />} href={withQuery(monitoring.audit, { ...filter, format })} download={`audit.${format}`}>
                {format === 'csv' ? 'CSV' : 'JSON'}
              </Button>
            ))}
          </>
        }
      />
      <Form<Values> layout="inline" className="toolbar" initialValues={{ ...filter, between: filter.from ?? filter.to ? [timeOf(filter.from), timeOf(filter.to)] : undefined }} onFinish={search}>
        <Flex gap="small" wrap>
          <Form.Item name="q" noStyle>
            <Input allowClear={clear} aria-label={t('audit.text')} placeholder={t('audit.text')} style={{ width: 180 }} />
          </Form.Item>
          <Form.Item name="actor" noStyle>
            <UserSelect prefix="user:" label={t('audit.actor')} more={programs.map((value) => ({ value, label: value }))} />
          </Form.Item>
          <Form.Item name="kind" noStyle>
            <Input allowClear={clear} aria-label={t('audit.kind')} placeholder={t('audit.kindHelp')} style={{ width: 170 }} />
          </Form.Item>
          <Form.Item name="object" noStyle>
            <Input allowClear={clear} aria-label={t('audit.object')} placeholder={t('audit.object')} style={{ width: 150 }} />
          </Form.Item>
          <Form.Item name="org" noStyle>
            <Select allowClear aria-label={t('level.org')} placeholder={t('level.org')} style={{ width: 150 }} options={own.map((name) => ({ value: name, label: name }))} />
          </Form.Item>
          <Form.Item name="result" noStyle>
            <Select allowClear aria-label={t('audit.result')} placeholder={t('audit.result')} style={{ width: 110 }} options={['ok', 'denied', 'failed'].map((value) => ({ value, label: t(`state.${value}`) }))} />
          </Form.Item>
          <Form.Item name="between" noStyle>
            <DatePicker.RangePicker showTime allowEmpty={[true, true]} aria-label={t('audit.between')} />
          </Form.Item>
          <Button type="primary" htmlType="submit">
            {t('audit.search')}
          </Button>
        </Flex>
      </Form>
      <AuditTable filter={filter} />
    </>
  );
}

/** Recomputes the chain of hashes: nothing was changed or taken out. */
function Verify() {
  const { t } = useTranslation();
  const [proof, setProof] = useState<Proof | null>(null);
  const verify = useAction(monitoring.verify, { onDone: setProof });
  return (
    <>
      <Button icon={<SafetyCertificateOutlined />} loading={verify.isPending} onClick={() => verify.mutate()}>
        {t('audit.verify')}
      </Button>
      <Modal open={proof !== null} footer={null} onCancel={() => setProof(null)}>
        {proof && (
          <Result
            status={proof.whole ? 'success' : 'error'}
            title={t(proof.whole ? 'audit.whole' : 'audit.broken', { at: proof.first_bad })}
            subTitle={t('audit.checked', { count: proof.records })}
          />
        )}
      </Modal>
    </>
  );
}
