// What a client is and may do, as a form.

import { Button, Card, Form, Input, Typography } from 'antd';
import { useTranslation } from 'react-i18next';

import { clients, GRANTS, METHODS, type Client, type ClientSettings } from '../../api/clients';
import { CheckField, ChoiceField, NumberField, TextField, TextsField } from '../../parts/fields';
import { useAction } from '../../parts/query';
import { useFaults } from '../../parts/useFaults';

/** Addresses, one a line: they may hold commas. */
export function ListField({ name, label, help, required }: { name: string; label: string; help?: string; required?: boolean }) {
  const { t } = useTranslation();
  return (
    <Form.Item
      name={name}
      label={label}
      extra={help}
      rules={required ? [{ required: true, message: t('form.required') }] : []}
      getValueFromEvent={(event: { target: { value: string } }) => event.target.value.split('\n')}
      getValueProps={(value?: string[]) => ({ value: (value ?? []).join('\n') })}
      normalize={(value: string[]) => value}
    >
      <Input.TextArea rows={3} className="mono" />
    </Form.Item>
  );
}

const trimmed = (list?: string[]) => (list ?? []).map((one) => one.trim()).filter(Boolean);

/** What the form leaves empty becomes nothing, not an empty text; what was not there and was not touched stays away. */
function whole(before: ClientSettings, values: ClientSettings): ClientSettings {
  const told = Object.entries(values).filter(([key, value]) => value !== undefined || key in before);
  const entries = told.map(([key, value]) => [key, value === '' || value === undefined ? null : Array.isArray(value) ? trimmed(value as string[]) : value]);
  return { ...before, ...(Object.fromEntries(entries) as ClientSettings), client_name: values.client_name ?? '' };
}

export function Settings({ client, etag }: { client: Client; etag: string | null }) {
  const { t } = useTranslation();
  const save = useAction((values: ClientSettings) => clients.change(client.id, whole(client.settings, values), etag), { done: t('parts.saved'), refresh: [['client', client.id], ['clients']] });
  const [form] = Form.useForm<ClientSettings>();
  useFaults(form, save.error);
  return (
    <Card className="narrow">
      <Form<ClientSettings> form={form} key={etag} layout="vertical" initialValues={client.settings} onFinish={save.mutate} scrollToFirstError>
        <CheckField name="enabled" label={t('clients.enabled')} help={t('clients.enabledHelp')} />
        <TextField name="client_name" label={t('common.displayName')} max={100} />
        <ListField name="redirect_uris" label={t('clients.redirects')} help={t('clients.redirectsHelp')} />
        <ListField name="post_logout_redirect_uris" label={t('clients.logoutRedirects')} />
        <TextField name="backchannel_logout_uri" label={t('clients.backchannel')} />
        <ChoiceField name="grant_types" label={t('clients.grants')} many required options={GRANTS.map((value) => ({ value, label: t(`grant.${value.split(':').at(-1)}`) }))} />
        <TextsField name="scopes" label={t('clients.scopes')} help={t('clients.scopesHelp')} />
        <ChoiceField name="token_endpoint_auth_method" label={t('clients.method')} required options={METHODS.map((value) => ({ value, label: value }))} />
        <ChoiceField name="id_token_signed_response_alg" label={t('clients.algorithm')} required options={['RS256', 'ES256', 'EdDSA'].map((value) => ({ value, label: value }))} />
        <TextField name="audience" label={t('clients.audience')} help={t('clients.audienceHelp')} />
        <NumberField name="access_token_seconds" label={t('clients.tokenSeconds')} min={60} max={86_400} suffix={t('unit.seconds')} />
        <CheckField name="consent_required" label={t('clients.consent')} help={t('clients.consentHelp')} />
        <CheckField name="require_pushed_authorization_requests" label={t('clients.par')} />
        <CheckField name="pkce_optional" label={t('clients.pkce')} help={t('clients.pkceHelp')} />
        <CheckField name="dpop_bound_access_tokens" label={t('clients.dpop')} />
        <Button type="primary" htmlType="submit" loading={save.isPending}>
          {t('common.save')}
        </Button>
      </Form>
      <Typography.Paragraph type="secondary" style={{ marginTop: 12, marginBottom: 0 }}>
        {t('clients.moreByApi')}
      </Typography.Paragraph>
    </Card>
  );
}
