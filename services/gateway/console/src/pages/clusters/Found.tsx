// What a test of the connection has found, or what is in the way and what to do about it.

import { CheckCircleFilled, MinusCircleOutlined } from '@ant-design/icons';
import { Alert, Card, Descriptions, Flex, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { CAPABILITIES, type Cluster, type Tested } from '../../api/clusters';
import { Answer, LinkButton, Time } from '../../parts/basics';
import { duration } from '../../parts/format';
import { to } from '../../place';
import { CredentialOf, Pulse } from './Clusters';

interface Asked {
  data?: Tested;
  isPending: boolean;
  error: unknown;
  refetch: () => unknown;
}

export function Found({ cluster, test }: { cluster: Cluster; test: Asked }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <Card>
        <Descriptions
          column={{ xs: 1, md: 2 }}
          items={[
            { key: 'server', label: t('clusters.server'), children: <span className="mono">{cluster.server}</span> },
            { key: 'owner', label: t('clusters.owner'), children: cluster.org ? <Link to={to.org(cluster.org)}>{cluster.org}</Link> : t('level.platform') },
            { key: 'credential', label: t('clusters.credential'), children: <CredentialOf cluster={cluster} /> },
            ...(cluster.health ? [{ key: 'pulse', label: t('clusters.pulse'), children: <Pulse of={cluster} /> }] : []),
            { key: 'drift', label: t('clusters.drift'), children: t(`clusters.drifts.${cluster.settings.drift}`) },
            { key: 'added', label: t('clusters.added'), children: <Time at={cluster.added_at} /> },
            { key: 'changed', label: t('common.changed'), children: <Time at={cluster.changed_at} /> },
          ]}
        />
      </Card>
      <Card title={t('clusters.lastTest')}>
        <Answer query={test}>{() => <Result test={test.data!} />}</Answer>
      </Card>
    </div>
  );
}

function Result({ test }: { test: Tested }) {
  const { t, i18n } = useTranslation();
  const lacks = test.missing_rights.length;
  return (
    <div className="stack">
      {test.usable && <Alert type="success" showIcon title={t('clusters.usableText', { took: duration(test.took_ms, i18n.language) })} />}
      {test.problem && (
        <Alert
          type="error"
          showIcon
          title={test.problem}
          description={t(lacks > 0 ? 'clusters.rightsAdvice' : 'clusters.reachAdvice')}
          action={lacks > 0 ? <LinkButton small to="/clusters/import">{t('clusters.manifest')}</LinkButton> : undefined}
        />
      )}
      {test.remarks.map((remark) => (
        <Alert key={remark} type="info" showIcon title={remark} />
      ))}
      {test.version !== '' && (
        <>
          <Descriptions
            column={{ xs: 1, md: 2 }}
            items={[
              { key: 'version', label: t('clusters.version'), children: test.version },
              { key: 'platform', label: t('clusters.platform'), children: test.platform || '–' },
            ]}
          />
          <ul className="remarks">
            {CAPABILITIES.filter((one) => one in test.capabilities).map((one) => (
              <li key={one}>
                <Flex gap="small" align="baseline">
                  {test.capabilities[one] ? <CheckCircleFilled className="added" aria-label={t('parts.yes')} /> : <MinusCircleOutlined aria-label={t('parts.no')} />}
                  <span>
                    <strong>{t(`clusters.capability.${one}`)}</strong> – {t(test.capabilities[one] ? `clusters.with.${one}` : `clusters.without.${one}`)}
                  </span>
                </Flex>
              </li>
            ))}
          </ul>
        </>
      )}
      {lacks > 0 && (
        <div>
          <Typography.Paragraph>{t('clusters.missing', { count: lacks })}</Typography.Paragraph>
          <Flex gap={4} wrap>
            {test.missing_rights.map((right) => (
              <Tag key={right} className="mono">
                {right}
              </Tag>
            ))}
          </Flex>
        </div>
      )}
    </div>
  );
}
