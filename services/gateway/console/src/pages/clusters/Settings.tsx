// A cluster's settings, set as a whole.

import { Button, Card, Form } from 'antd';
import { useTranslation } from 'react-i18next';

import { clusters, type Cluster } from '../../api/clusters';
import { useAction } from '../../parts/query';
import { formOf, SettingsFields, settingsOf, type SettingsForm } from './SettingsFields';

export function Settings({ cluster }: { cluster: Cluster }) {
  const { t } = useTranslation();
  const save = useAction((form: SettingsForm) => clusters.settings(cluster.name, settingsOf(form, cluster.settings)), { done: t('parts.saved'), refresh: [['clusters']] });
  return (
    <Card className="narrow">
      <Form<SettingsForm> key={cluster.changed_at} layout="vertical" initialValues={formOf(cluster.settings)} onFinish={save.mutate}>
        <SettingsFields placed={cluster.settings.region !== undefined} roles={cluster.settings.roles !== undefined} />
        <Button type="primary" htmlType="submit" loading={save.isPending}>
          {t('common.save')}
        </Button>
      </Form>
    </Card>
  );
}
