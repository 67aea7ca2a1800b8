// How an organisation's sign-in pages look: logo, colours, texts.

import { DeleteOutlined, UploadOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Button, Card, Flex, Form, Popconfirm, Typography, Upload } from 'antd';
import { useTranslation } from 'react-i18next';

import { base64, branding, type Branding, type Look } from '../../api/branding';
import { Answer } from '../../parts/basics';
import { TextField } from '../../parts/fields';
import { useAction } from '../../parts/query';

const FIELDS = ['title', 'accent', 'accent_dark', 'support', 'notice_en', 'notice_zh', 'privacy_url', 'terms_url'] as const;

/** What is left empty is as on the platform's own pages. */
function filled(values: Branding): Look {
  const look: Look = {};
  for (const field of FIELDS) {
    const text = values[field]?.trim();
    if (text) look[field] = text;
  }
  return look;
}

export default function SignInPages({ org }: { org: string }) {
  const { t } = useTranslation();
  const key = ['branding', org];
  const query = useQuery({ queryKey: key, queryFn: () => branding.read(org) });
  const save = useAction((body: Look) => branding.put(org, body, query.data?.etag ?? null), { done: t('branding.saved'), refresh: [key] });
  const reset = useAction(() => branding.reset(org), { done: t('branding.wasReset'), refresh: [key] });
  return (
    <Answer query={query}>
      {() => (
        <Card
          className="narrow"
          extra={
            <Flex gap={8}>
              <Button href={`/login?org=${encodeURIComponent(org)}`} target="_blank">
                {t('branding.look')}
              </Button>
              <Popconfirm title={t('branding.confirmReset')} onConfirm={() => reset.mutate()}>
                <Button loading={reset.isPending}>{t('branding.reset')}</Button>
              </Popconfirm>
            </Flex>
          }
        >
          <Typography.Paragraph type="secondary">{t('branding.help')}</Typography.Paragraph>
          <LogoPart org={org} shown={query.data!.value} />
          <Form<Branding> key={query.data!.etag} layout="vertical" initialValues={filled(query.data!.value)} onFinish={(values) => save.mutate(filled(values))}>
            <TextField name="title" label={t('branding.titleLabel')} max={60} />
            <TextField name="accent" label={t('branding.accent')} help={t('branding.accentHelp')} max={7} placeholder="#1255cc" />
            <TextField name="accent_dark" label={t('branding.accentDark')} help={t('branding.accentDarkHelp')} max={7} placeholder="#7aa7ff" />
            <TextField name="support" label={t('branding.support')} help={t('branding.supportHelp')} max={254} />
            <TextField name="notice_en" label={t('branding.noticeEn')} rows={2} />
            <TextField name="notice_zh" label={t('branding.noticeZh')} rows={2} />
            <TextField name="privacy_url" label={t('branding.privacy')} placeholder="https://" />
            <TextField name="terms_url" label={t('branding.terms')} placeholder="https://" />
            <Button type="primary" htmlType="submit" loading={save.isPending}>
              {t('common.save')}
            </Button>
          </Form>
        </Card>
      )}
    </Answer>
  );
}

function LogoPart({ org, shown }: { org: string; shown: Branding }) {
  const { t } = useTranslation();
  const refresh = [['branding', org]];
  const send = useAction(async (file: Blob) => branding.putLogo(org, await base64(file)), { done: t('branding.saved'), refresh });
  const take = useAction(() => branding.removeLogo(org), { done: t('branding.saved'), refresh });
  return (
    <Flex vertical gap={8} align="start" style={{ marginBottom: 24 }}>
      <Typography.Text strong>{t('branding.logo')}</Typography.Text>
      {shown.logo && <img src={shown.logo.url} alt={t('branding.logo')} width={shown.logo.width} height={shown.logo.height} style={{ maxWidth: '100%', maxHeight: 80, width: 'auto', height: 'auto' }} />}
      <Flex gap={8}>
        <Upload
          accept="image/png,image/jpeg,image/webp"
          showUploadList={false}
          beforeUpload={(file) => {
            send.mutate(file);
            return false;
          }}
        >
          <Button icon={<UploadOutlined />} loading={send.isPending}>
            {t('branding.choose')}
          </Button>
        </Upload>
        {shown.logo && (
          <Button icon={<DeleteOutlined />} loading={take.isPending} onClick={() => take.mutate()}>
            {t('branding.removeLogo')}
          </Button>
        )}
      </Flex>
      <Typography.Text type="secondary">{t('branding.logoHelp')}</Typography.Text>
    </Flex>
  );
}
