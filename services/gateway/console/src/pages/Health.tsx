// Every service with its parts: ready, or what is wrong.

import { Card, Flex, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { Answer, PageHeader, State } from '../parts/basics';
import { useHealth } from '../parts/health';
import { useMay } from '../parts/may';
import { Mails } from './Mails';

export default function Health() {
  const { t } = useTranslation();
  const query = useHealth();
  const operator = useMay('identity.admin', {}) === true;
  return (
    <>
      <PageHeader title={t('menu.health')} sub={query.data && t(query.data.ready ? 'health.all' : 'health.some')} />
      <Answer query={query}>
        {() => (
          <div className="grid">
            {query.data!.parts.map((part) => (
              <Card key={part.name} size="small" title={t(`service.${part.name}`, { defaultValue: part.name })} extra={<State value={part.ready ? 'ready' : 'not_ready'} />}>
                {!part.ready && <Typography.Paragraph type="danger">{part.detail}</Typography.Paragraph>}
                <Flex gap={4} wrap>
                  {(part.parts ?? []).map((one) => (
                    <Tag key={one.name} color={one.ok ? 'green' : 'red'}>
                      {one.name}
                      {one.error ? `: ${one.error}` : ''}
                    </Tag>
                  ))}
                </Flex>
                <Typography.Text type="secondary">{part.duration_ms} ms</Typography.Text>
              </Card>
            ))}
            {operator && <Mails />}
          </div>
        )}
      </Answer>
    </>
  );
}
