// For which platforms there is an image, whether each is what it claims, and the archive of one of them.

import { DownloadOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Dropdown, Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { get } from '../../api/http';
import { registry, type PlatformImage, type TagPlatforms } from '../../api/registry';
import { Answer, DataTable } from '../../parts/basics';
import { bytes, short } from '../../parts/format';
import { to } from '../../place';

interface Props {
  org: string;
  project: string;
  repository: string;
  url: string;
}

export default function Platforms({ org, project, repository, url }: Props) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['platforms', url], queryFn: () => get<TagPlatforms>(registry.platforms(url)) });
  const archive = (format: 'oci' | 'docker', image: PlatformImage) => ({
    key: format,
    label: (
      <a href={registry.export(registry.image(org, project, repository, image.digest), format)} download={`${repository.replaceAll('/', '-')}-${short(image.digest)}.tar`}>
        {t(format === 'oci' ? 'platforms.asOci' : 'platforms.asDocker')}
      </a>
    ),
  });
  return (
    <Answer query={query}>
      {() => {
        const { images, wanted, missing } = query.data!;
        return (
          <div className="stack">
            {missing.length > 0 && <Alert type="warning" showIcon title={t('platforms.missing', { list: missing.join(', ') })} />}
            {wanted.length > 0 && missing.length === 0 && <Alert type="success" showIcon title={t('platforms.complete')} />}
            <DataTable<PlatformImage>
              label={t('platforms.title')}
              query={{ ...query, items: images }}
              rowKey="digest"
              empty={t('platforms.none')}
              columns={[
                {
                  title: t('platforms.platform'),
                  render: (_, image) => (
                    <Flex vertical>
                      <span>{image.platform ?? '–'}</span>
                      {image.config_says && <Tag color="red">{t('platforms.says', { platform: image.config_says })}</Tag>}
                    </Flex>
                  ),
                },
                {
                  title: t('images.digest'),
                  dataIndex: 'digest',
                  render: (digest: string) => (
                    <Link className="mono" to={to.digest(org, project, repository, digest)}>
                      {short(digest)}
                    </Link>
                  ),
                },
                { title: t('images.size'), dataIndex: 'size_bytes', render: (size: number) => bytes(size) },
                { title: t('platforms.here'), dataIndex: 'present', render: (present: boolean) => <Tag color={present ? 'green' : 'default'}>{t(present ? 'platforms.present' : 'platforms.absent')}</Tag> },
                { title: t('platforms.programs'), render: (_, image) => <Programs image={image} /> },
                {
                  title: t('common.actions'),
                  render: (_, image) =>
                    image.present && (
                      <Dropdown trigger={['click']} menu={{ items: [archive('oci', image), archive('docker', image)] }}>
                        <Button icon={<DownloadOutlined />}>{t('platforms.export')}</Button>
                      </Dropdown>
                    ),
                },
              ]}
            />
          </div>
        );
      }}
    </Answer>
  );
}

function Programs({ image }: { image: PlatformImage }) {
  const { t } = useTranslation();
  if (!image.check) return <Tag>{t('images.notScanned')}</Tag>;
  const { agrees, fault, machines } = image.check;
  const all = Object.entries(machines).map(([machine, count]) => `${machine} ${count}`);
  return (
    <Flex vertical gap={4}>
      <span>
        <Tag color={agrees === null ? 'default' : agrees ? 'green' : 'red'}>{t(agrees === null ? 'platforms.nothing' : agrees ? 'platforms.fit' : 'platforms.foreign')}</Tag>
        {all.join(', ')}
      </span>
      {fault && <span>{fault}</span>}
    </Flex>
  );
}
