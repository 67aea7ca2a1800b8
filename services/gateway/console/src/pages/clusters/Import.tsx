// Importing a cluster: an account with the least rights on it, how it is reached, and what is set for it. It is tested before.

import { Alert, Button, Card, Collapse, Flex, Form } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';

import { clusters } from '../../api/clusters';
import type { ApiError } from '../../api/http';
import { LinkButton, PageHeader, ProblemView } from '../../parts/basics';
import { ChoiceField, NameField } from '../../parts/fields';
import { useAdministered } from '../../parts/me';
import { useFaults } from '../../parts/useFaults';
import { useAction } from '../../parts/query';
import { to } from '../../place';
import { AccessFields, accessOf, type AccessForm } from './AccessFields';
import { Manifest } from './Manifest';
import { formOf, SettingsFields, settingsOf, USUAL, type SettingsForm } from './SettingsFields';

type Values = { name: string; org?: string } & AccessForm & SettingsForm;

const PLATFORM = '';

export default function Import() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const { admin, own, first: ownFirst, none } = useAdministered();
  const [form] = Form.useForm<Values>();
  const [refused, setRefused] = useState<ApiError | null>(null);
  const first = admin ? PLATFORM : ownFirst;
  const add = useAction(
    async (unchecked: boolean) => {
      setRefused(null);
      // Also what stands in a closed part of the form.
      const { name, org = first, way, kubeconfig, context, server, ca_pem, token, ...settings } = { ...form.getFieldsValue(true), ...(await form.validateFields()) } as Values;
      try {
        return await clusters.add({ name, ...(org ? { org } : {}), access: accessOf({ way, kubeconfig, context, server, ca_pem, token }), settings: settingsOf(settings, USUAL), unchecked });
      } catch (error) {
        setRefused(error as ApiError);
        throw error;
      }
    },
    { done: t('clusters.imported'), refresh: [['clusters']], onDone: (made) => void navigate(to.cluster(made.name)) },
  );
  useFaults(form, add.error);
  const submit = async (unchecked: boolean) => {
    // Faults of fields stand at the fields.
    if (await form.validateFields().then(() => true, () => false)) add.mutate(unchecked);
  };
  return (
    <>
      <PageHeader title={t('clusters.import')} sub={t('clusters.importSub')} actions={<LinkButton to="/clusters">{t('menu.clusters')}</LinkButton>} />
      <div className="two">
        <Card title={t('clusters.reach')}>
          {none ? (
            <Alert type="info" showIcon title={t('clusters.notAdmin')} />
          ) : (
            <Form<Values> form={form} layout="vertical" initialValues={{ way: 'kubeconfig', ...formOf(USUAL) }} scrollToFirstError onFinish={() => void submit(false)}>
              <NameField />
              <ChoiceField name="org" label={t('clusters.owner')} help={t('clusters.ownerHelp')} options={own.map((value) => ({ value, label: value }))} />
              <AccessFields form={form} inCluster={admin} />
              <Collapse ghost items={[{ key: 'settings', label: t('clusters.settings'), forceRender: true, children: <SettingsFields /> }]} />
              {refused && (
                <div className="stack">
                  <ProblemView error={refused} />
                  {refused.code === 'scheduler.cluster_unusable' && (
                    <Flex gap="small" align="center" wrap>
                      {t('clusters.allTheSame')}
                      <Button loading={add.isPending && add.variables} onClick={() => void submit(true)}>
                        {t('clusters.unchecked')}
                      </Button>
                    </Flex>
                  )}
                </div>
              )}
              <Flex gap="small" className="gap">
                <Button type="primary" htmlType="submit" loading={add.isPending && !add.variables}>
                  {t('clusters.testAndImport')}
                </Button>
                <LinkButton to="/clusters">{t('common.cancel')}</LinkButton>
              </Flex>
            </Form>
          )}
        </Card>
        <Manifest />
      </div>
    </>
  );
}
