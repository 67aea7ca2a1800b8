// How people use a cluster with their account here: what its API server has to be told, and a kubeconfig without a secret.

import { DownloadOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import type { Cluster } from '../../api/clusters';
import { saveText } from '../../parts/save';
import { AUDIENCE, authenticationFile, flagsOf, kubeconfigOf, PREFIX } from './kubectl';

const CLIENT = `gantry client create ${AUDIENCE} --name Kubernetes --auth none --set application_type=native \\
  --redirect-uri http://127.0.0.1/callback --redirect-uri http://localhost:8000 \\
  --grant authorization_code --grant refresh_token --grant urn:ietf:params:oauth:grant-type:device_code`;

export function SignIn({ cluster }: { cluster: Cluster }) {
  const { t } = useTranslation();
  const issuer = window.location.origin;
  const prefix = cluster.settings.groups_prefix ?? PREFIX;
  const block = (title: string, help: string, file: string | null, text: string) => (
    <Card
      title={title}
      extra={
        file && (
          <Button icon={<DownloadOutlined />} onClick={() => saveText(file, text)}>
            {t('common.download')}
          </Button>
        )
      }
    >
      <Typography.Paragraph type="secondary">{help}</Typography.Paragraph>
      <Typography.Paragraph className="code mono" copyable={{ text, tooltips: [t('common.copy'), t('common.copied')] }}>
        {text}
      </Typography.Paragraph>
    </Card>
  );
  return (
    <div className="stack">
      <Alert type="info" showIcon title={t('kubectl.what')} description={t('kubectl.groups', { prefix })} />
      {block(t('kubectl.client'), t('kubectl.clientHelp'), null, CLIENT)}
      {block(t('kubectl.file'), t('kubectl.fileHelp'), 'authentication.yaml', authenticationFile(issuer, prefix))}
      {block(t('kubectl.flags'), t('kubectl.flagsHelp'), null, flagsOf(issuer, prefix))}
      {block(t('kubectl.kubeconfig'), t('kubectl.kubeconfigHelp'), `${cluster.name}.kubeconfig`, kubeconfigOf(cluster.name, cluster.server))}
    </div>
  );
}
