// One image by its digest: what it is made of, what the scan found, who vouches for it.

import { DownloadOutlined } from '@ant-design/icons';
import { Button, Dropdown, Flex, Typography } from 'antd';
import { lazy } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { withQuery } from '../../api/http';
import { registry } from '../../api/registry';
import { PageHeader } from '../../parts/basics';
import { short } from '../../parts/format';
import { useMay } from '../../parts/may';
import { PageTabs } from '../../parts/tabs';
import { to } from '../../place';
import { DeleteImage } from './DeleteImage';

const Findings = lazy(() => import('./Findings'));
const Layers = lazy(() => import('./Layers'));
const Origin = lazy(() => import('./Origin'));
const Platforms = lazy(() => import('./Platforms'));
const Signatures = lazy(() => import('./Signatures'));

const download = (key: string, label: string, href: string, name: string) => ({
  key,
  label: (
    <a href={href} download={name}>
      {label}
    </a>
  ),
});

export default function ImagePage() {
  const { t } = useTranslation();
  const params = useParams();
  const [org, project, repository, digest] = [params.org!, params.project!, params.repository!, params.digest!];
  const url = registry.image(org, project, repository, digest);
  const may = useMay('images.delete', { org, project });
  const file = `${repository.replaceAll('/', '-')}-${short(digest)}`;
  return (
    <>
      <PageHeader
        title={`${repository}@${short(digest)}`}
        sub={
          <Flex gap="small" wrap>
            <Link to={to.image(org, project, repository)}>{`${org}/${project}/${repository}`}</Link>
            <Typography.Text className="mono" type="secondary" copyable={{ text: digest, tooltips: [t('common.copy'), t('common.copied')] }}>
              {digest}
            </Typography.Text>
          </Flex>
        }
        actions={
          <>
          <Dropdown
            trigger={['click']}
            menu={{
              items: [
                download('cyclonedx', t('images.sbomAs', { format: 'CycloneDX' }), registry.sbom(url, 'cyclonedx'), `${file}.cdx.json`),
                download('spdx', t('images.sbomAs', { format: 'SPDX' }), registry.sbom(url, 'spdx'), `${file}.spdx.json`),
                { type: 'divider' },
                download('sarif', t('images.reportAs', { format: 'SARIF' }), withQuery(registry.scan(url), { format: 'sarif' }), `${file}.sarif`),
                download('html', t('images.reportAs', { format: 'HTML' }), withQuery(registry.scan(url), { format: 'html' }), `${file}.html`),
              ],
            }}
          >
            <Button icon={<DownloadOutlined />}>{t('common.download')}</Button>
          </Dropdown>
          {may && <DeleteImage org={org} project={project} repository={repository} digest={digest} />}
          </>
        }
      />
      <PageTabs
        items={[
          { key: 'findings', label: t('images.findings'), children: <Findings org={org} project={project} url={url} /> },
          { key: 'layers', label: t('images.layers'), children: <Layers url={url} /> },
          { key: 'platforms', label: t('platforms.title'), children: <Platforms org={org} project={project} repository={repository} url={url} /> },
          { key: 'origin', label: t('origin.title'), children: <Origin url={url} /> },
          { key: 'signatures', label: t('images.signatures'), children: <Signatures url={url} /> },
        ]}
      />
    </>
  );
}
