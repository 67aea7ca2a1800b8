// The security policy of the platform or of one organisation; of the two, the stricter rule holds.

import { useQuery } from '@tanstack/react-query';
import { Button, Card, Form, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { protection, type SecurityPolicy } from '../api/protection';
import { Answer } from './basics';
import { ChoiceField, NumberField, TextsField } from './fields';
import { useAction } from './query';
import { useFaults } from './useFaults';

/** What is left empty is not restricted. */
const filled = (values: SecurityPolicy) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '')) as SecurityPolicy;

export function PolicyForm({ org }: { org?: string }) {
  const { t } = useTranslation();
  const key = ['policy', org ?? null];
  const query = useQuery({ queryKey: key, queryFn: () => protection.readPolicy(org) });
  const save = useAction((body: SecurityPolicy) => protection.putPolicy(org, body, query.data?.etag ?? null), { done: t('protection.saved'), refresh: [key] });
  const [form] = Form.useForm<SecurityPolicy>();
  useFaults(form, save.error);
  return (
    <Answer query={query}>
      {() => (
        <Card className="narrow">
          <Typography.Paragraph type="secondary">{t(org === undefined ? 'protection.platformHelp' : 'protection.orgHelp')}</Typography.Paragraph>
          <Form<SecurityPolicy> form={form} key={query.data!.etag} layout="vertical" initialValues={query.data!.value} onFinish={(values) => save.mutate(filled(values))}>
            <ChoiceField name="second_factor" label={t('protection.secondFactor')} required options={['optional', 'required', 'passkey'].map((value) => ({ value, label: t(`secondFactor.${value}`) }))} />
            <ChoiceField name="registration" label={t('protection.registration')} required options={['open', 'approval', 'closed'].map((value) => ({ value, label: t(`registrationRule.${value}`) }))} />
            <TextsField name="email_domains" label={t('protection.domains')} help={t('protection.domainsHelp')} />
            <TextsField name="networks" label={t('protection.networks')} help={t('protection.networksHelp')} />
            <ChoiceField name="sign_in_by" label={t('protection.signInBy')} help={t('protection.signInByHelp')} free options={['password', 'passkey', 'certificate', 'directory'].map((value) => ({ value, label: t(`signInBy.${value}`) }))} />
            <div className="grid-narrow">
              <NumberField name="password_min_length" label={t('protection.length')} min={8} max={128} />
              <ChoiceField name="password_min_score" label={t('protection.score')} options={[3, 4].map((value) => ({ value: value as unknown as string, label: t(`passwordScore.s${value}`) }))} />
              <NumberField name="password_history" label={t('protection.history')} min={1} max={10} />
              <NumberField name="session_hours" label={t('protection.sessionHours')} min={1} max={720} suffix={t('unit.hours')} />
              <NumberField name="session_idle_minutes" label={t('protection.idle')} min={5} max={10_080} suffix={t('unit.minutes')} />
            </div>
            <Button type="primary" htmlType="submit" loading={save.isPending}>
              {t('common.save')}
            </Button>
          </Form>
        </Card>
      )}
    </Answer>
  );
}
