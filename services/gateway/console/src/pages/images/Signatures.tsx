// Who vouches for an image, checked with the project's trusted keys, and whether that is enough.

import { useQuery } from '@tanstack/react-query';
import { Alert, Card, Descriptions, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { registry, type Signature, type Trust } from '../../api/registry';
import { Answer, DataTable } from '../../parts/basics';
import { short } from '../../parts/format';

export default function Signatures({ url }: { url: string }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['signatures', url], queryFn: () => get<Trust>(registry.signatures(url)) });
  return (
    <Answer query={query}>
      {() => {
        const trust = query.data!;
        return (
          <div className="stack">
            <Verdict title={t('images.pullVerdict')} refused={trust.pull_refused} />
            <Verdict title={t('images.deployVerdict')} refused={trust.deploy_refused} />
            <Card>
              <Descriptions items={[{ key: 'level', label: t('images.provenance'), children: t(`slsa.level${trust.provenance_level}`) }]} />
            </Card>
            <DataTable<Signature>
              label={t('images.signatures')}
              query={{ ...query, items: trust.signatures }}
              rowKey={(one) => `${one.artifact}/${one.key ?? one.signer ?? ''}/${one.predicate_type ?? ''}`}
              empty={t('images.unsigned')}
              columns={[
                { title: t('images.form'), dataIndex: 'form', render: (form: string) => t(`signatureForm.${form}`, { defaultValue: form }) },
                { title: t('images.counts'), dataIndex: 'valid', render: (valid: boolean) => <Tag color={valid ? 'green' : 'red'}>{t(valid ? 'images.valid' : 'images.invalid')}</Tag> },
                { title: t('images.key'), dataIndex: 'key', render: (key: string | null) => key ?? '–' },
                { title: t('images.signer'), dataIndex: 'signer', render: (signer: string | null) => signer ?? '–' },
                { title: t('images.statement'), dataIndex: 'predicate_type', render: (kind: string | null) => kind ?? '–' },
                { title: t('images.builder'), dataIndex: 'builder', render: (builder: string | null) => builder ?? '–' },
                { title: t('images.artifact'), dataIndex: 'artifact', render: (digest: string) => <span className="mono">{short(digest)}</span> },
                { title: t('audit.reason'), dataIndex: 'fault', render: (fault: string | null) => fault ?? '' },
              ]}
              expandable={{
                rowExpandable: (one) => one.materials.length > 0,
                expandedRowRender: (one) => (
                  <ul className="plain mono">
                    {one.materials.map((material) => (
                      <li key={material}>{material}</li>
                    ))}
                  </ul>
                ),
              }}
            />
          </div>
        );
      }}
    </Answer>
  );
}

function Verdict({ title, refused }: { title: string; refused: string[] }) {
  const { t } = useTranslation();
  return (
    <Alert
      showIcon
      type={refused.length === 0 ? 'success' : 'warning'}
      title={`${title}: ${t(refused.length === 0 ? 'images.allowed' : 'images.refused')}`}
      description={
        refused.length > 0 && (
          <ul className="plain">
            {refused.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        )
      }
    />
  );
}
