// The merged OpenAPI document, readable: no script from anywhere else.

import { SearchOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Collapse, Flex, Input, Tag, Typography } from 'antd';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';

import { call } from '../api/http';
import { Answer, EmptyState, PageHeader } from '../parts/basics';
import { grouped, typeName, type Document, type Operation, type Schema } from '../parts/openapi';
import { useClear } from '../parts/clear';

const COLOURS: Record<string, string> = { get: 'blue', post: 'green', put: 'orange', patch: 'gold', delete: 'red' };

export default function ApiDocs() {
  const { t } = useTranslation();
  const clear = useClear();
  const query = useQuery({ queryKey: ['openapi'], queryFn: () => call<Document>('GET', '/api/openapi.json'), staleTime: 60_000 });
  const [text, setText] = useState('');
  const groups = useMemo(() => (query.data ? grouped(query.data, text) : []), [query.data, text]);
  return (
    <>
      <PageHeader
        title={t('menu.api')}
        sub={t('api.sub')}
        actions={
          <Button href="/api/openapi.json" target="_blank">
            openapi.json
          </Button>
        }
      />
      <Answer query={query}>
        {() => (
          <div className="stack">
            {query.data!['x-gantry-missing'] && <Alert type="warning" showIcon title={t('api.missing', { names: query.data!['x-gantry-missing'].join(', ') })} />}
            <Input allowClear={clear} prefix={<SearchOutlined />} aria-label={t('api.filter')} placeholder={t('api.filter')} value={text} onChange={(event) => setText(event.target.value)} style={{ maxWidth: 420 }} />
            {groups.length === 0 && <EmptyState text={t('api.none')} />}
            {groups.map(({ tag, operations }) => (
              <Card key={tag} size="small" title={t(`service.${tag}`, { defaultValue: tag })}>
                {operations.map((operation) => (
                  <OperationView key={`${operation.method} ${operation.path}`} operation={operation} document={query.data!} />
                ))}
              </Card>
            ))}
            <Collapse items={[{ key: 'schemas', label: t('api.schemas'), children: <Schemas document={query.data!} /> }]} />
          </div>
        )}
      </Answer>
    </>
  );
}

function OperationView({ operation, document }: { operation: Operation; document: Document }) {
  const { t } = useTranslation();
  const body = operation.requestBody && Object.values(operation.requestBody.content ?? {})[0]?.schema;
  return (
    <details className="operation">
      <summary>
        <Tag color={COLOURS[operation.method]}>{operation.method.toUpperCase()}</Tag>
        <span className="mono">{operation.path}</span> <Typography.Text type="secondary">{operation.summary}</Typography.Text>
      </summary>
      <div className="stack">
        {operation.description && <Typography.Paragraph>{operation.description}</Typography.Paragraph>}
        {(operation.parameters ?? []).length > 0 && (
          <div>
            <strong>{t('api.parameters')}</strong>
            <ul>
              {operation.parameters!.map((parameter) => (
                <li key={`${parameter.in}.${parameter.name}`}>
                  <Typography.Text code>{parameter.name}</Typography.Text> ({parameter.in}
                  {parameter.required ? `, ${t('api.required')}` : ''}) {typeName(parameter.schema)} {parameter.description}
                </li>
              ))}
            </ul>
          </div>
        )}
        {body && (
          <div>
            <strong>{t('api.body')}</strong>
            <SchemaView schema={body} document={document} />
          </div>
        )}
        <div>
          <strong>{t('api.answers')}</strong>
          <ul>
            {Object.entries(operation.responses ?? {}).map(([status, response]) => (
              <li key={status}>
                <Tag>{status}</Tag> {response.description} {typeName(Object.values(response.content ?? {})[0]?.schema)}
              </li>
            ))}
          </ul>
        </div>
      </div>
    </details>
  );
}

function SchemaView({ schema, document }: { schema: Schema; document: Document }) {
  const target = schema.$ref ? document.components?.schemas?.[schema.$ref.split('/').pop()!] : schema;
  if (!target?.properties) return <Typography.Text code>{typeName(schema)}</Typography.Text>;
  return (
    <ul>
      {Object.entries(target.properties).map(([name, property]) => (
        <li key={name}>
          <Typography.Text code>{name}</Typography.Text>
          {target.required?.includes(name) ? '*' : ''} {typeName(property)} <Typography.Text type="secondary">{property.description}</Typography.Text>
        </li>
      ))}
    </ul>
  );
}

function Schemas({ document }: { document: Document }) {
  return (
    <Flex vertical gap="middle">
      {Object.entries(document.components?.schemas ?? {}).map(([name, schema]) => (
        <div key={name}>
          <Typography.Text strong className="mono">
            {name}
          </Typography.Text>
          <SchemaView schema={schema} document={document} />
        </div>
      ))}
    </Flex>
  );
}
