// What an image is made of: its layers, the steps that made them, and how much of it only it has.

import { useQuery } from '@tanstack/react-query';
import { Card, Descriptions, Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { get } from '../../api/http';
import { registry, type Layer, type Parts } from '../../api/registry';
import { Answer, DataTable, Time } from '../../parts/basics';
import { bytes, short } from '../../parts/format';

const list = (texts: string[]) => (texts.length === 0 ? '–' : <span className="mono">{texts.join(' ')}</span>);

export default function Layers({ url }: { url: string }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['layers', url], queryFn: () => get<Parts>(registry.layers(url)) });
  return (
    <Answer query={query}>
      {() => {
        const { config, layers, own_bytes, shared_bytes } = query.data!;
        return (
          <div className="stack">
            <Card>
              <Descriptions
                column={{ xs: 1, md: 3 }}
                items={[
                  { key: 'own', label: t('layers.own'), children: bytes(own_bytes) },
                  { key: 'shared', label: t('layers.shared'), children: bytes(shared_bytes) },
                  { key: 'created', label: t('layers.built'), children: <Time at={config.created} /> },
                  { key: 'entrypoint', label: t('layers.entrypoint'), children: list(config.entrypoint) },
                  { key: 'command', label: t('layers.command'), children: list(config.command) },
                  { key: 'user', label: t('layers.user'), children: config.user || '–' },
                  { key: 'folder', label: t('layers.folder'), children: config.working_dir || '–' },
                  { key: 'ports', label: t('layers.ports'), children: list(config.ports) },
                  { key: 'volumes', label: t('layers.volumes'), children: list(config.volumes) },
                ]}
              />
            </Card>
            <DataTable<Layer>
              size="small"
              label={t('images.layers')}
              query={{ ...query, items: layers }}
              rowKey={(layer) => `${layers.indexOf(layer)}`}
              empty={t('layers.none')}
              columns={[
                { title: t('images.digest'), dataIndex: 'digest', render: (digest: string) => <span className="mono">{short(digest)}</span> },
                { title: t('images.size'), dataIndex: 'size_bytes', render: (size: number) => bytes(size) },
                { title: t('layers.with'), dataIndex: 'images', render: (images: number) => <Tag color={images > 1 ? 'blue' : 'default'}>{images > 1 ? t('layers.sharedBy', { count: images }) : t('layers.only')}</Tag> },
                { title: t('layers.step'), dataIndex: 'created_by', render: (step: string) => <Flex className="mono step">{step || '–'}</Flex> },
              ]}
            />
          </div>
        );
      }}
    </Answer>
  );
}
