// The account on the cluster that the platform needs: to read before it is applied, to copy, to download.

import { DownloadOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Button, Card, Checkbox, Flex, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { clusters } from '../../api/clusters';
import { Answer } from '../../parts/basics';
import { saveText } from '../../parts/save';

const APPLY = 'kubectl apply -f gantry-cluster.yaml';
const TOKEN = "kubectl -n gantry-system get secret gantry -o jsonpath='{.data.token}' | base64 -d";
const CA = "kubectl -n gantry-system get secret gantry -o jsonpath='{.data.ca\\.crt}' | base64 -d";

export function Manifest() {
  const { t } = useTranslation();
  const [scheduler, setScheduler] = useState(false);
  const [roles, setRoles] = useState(false);
  const query = useQuery({ queryKey: ['cluster-manifest', scheduler, roles], queryFn: () => clusters.manifest({ scheduler, roles }), staleTime: Infinity });
  const command = (text: string) => (
    <Typography.Paragraph className="code mono" copyable={{ text, tooltips: [t('common.copy'), t('common.copied')] }}>
      {text}
    </Typography.Paragraph>
  );
  return (
    <Card title={t('clusters.manifest')}>
      <div className="stack">
        <Typography.Text type="secondary">{t('clusters.manifestHelp')}</Typography.Text>
        <Flex gap="small" align="center" wrap>
          <Button icon={<DownloadOutlined />} disabled={!query.data} onClick={() => saveText('gantry-cluster.yaml', query.data!)}>
            {t('common.download')}
          </Button>
          <Checkbox checked={scheduler} onChange={(event) => setScheduler(event.target.checked)}>
            {t('clusters.manifestScheduler')}
          </Checkbox>
          <Checkbox checked={roles} onChange={(event) => setRoles(event.target.checked)}>
            {t('clusters.manifestRoles')}
          </Checkbox>
        </Flex>
        <div>
          {t('clusters.thenApply')}
          {command(APPLY)}
        </div>
        <div>
          {t('clusters.thenToken')}
          {command(TOKEN)}
        </div>
        <div>
          {t('clusters.thenCa')}
          {command(CA)}
        </div>
        <Answer query={query}>{() => <pre className="code mono manifest">{query.data}</pre>}</Answer>
      </div>
    </Card>
  );
}
