// Many users from a file: what would happen first, then it.

import { UploadOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Flex, Input, Table, Tag, Typography, Upload } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { people, type ImportReport } from '../../api/people';
import { EmptyState, LinkButton, PageHeader } from '../../parts/basics';
import { AskButton } from '../../parts/dialogs';
import { useAction } from '../../parts/query';

const EXAMPLE = 'username,email,display_name,password_hash\nzhangsan,zhangsan@example.com,张三,\n';
const COLOURS = { created: 'green', unchanged: 'default', failed: 'red' };

export default function Import() {
  const { t } = useTranslation();
  const [text, setText] = useState('');
  const [report, setReport] = useState<ImportReport | null>(null);
  const run = useAction((dryRun: boolean) => people.importUsers(text, dryRun), { refresh: [['users']], onDone: setReport });
  const change = (next: string) => {
    setText(next);
    setReport(null);
  };
  // Only what was tried can be done.
  const tried = report !== null && report.dry_run && report.created > 0;
  return (
    <>
      <PageHeader title={t('people.import')} sub={t('people.importSub')} actions={<LinkButton to="/people">{t('people.title')}</LinkButton>} />
      <div className="two">
        <Card
          title={t('people.file')}
          extra={
            <Upload
              accept=".csv,text/csv"
              showUploadList={false}
              beforeUpload={async (file) => {
                change(await file.text());
                return false;
              }}
            >
              <Button icon={<UploadOutlined />}>{t('people.chooseFile')}</Button>
            </Upload>
          }
        >
          <Typography.Paragraph type="secondary">{t('people.importHelp')}</Typography.Paragraph>
          <Input.TextArea rows={14} className="mono" aria-label={t('people.file')} placeholder={EXAMPLE} value={text} onChange={(event) => change(event.target.value)} />
          <Flex gap="small" style={{ marginTop: 12 }}>
            <Button type={tried ? 'default' : 'primary'} disabled={text.trim() === ''} loading={run.isPending && run.variables} onClick={() => run.mutate(true)}>
              {t('deploy.dryRun')}
            </Button>
            <AskButton size="middle" type="primary" disabled={!tried} loading={run.isPending && !run.variables} ask={t('people.confirmImport', { count: report?.created ?? 0 })} label={t('people.import')} onConfirm={() => run.mutate(false)} />
          </Flex>
        </Card>
        <Card title={t('people.report')}>
          {report === null ? (
            <EmptyState text={t('people.noReport')} />
          ) : (
            <div className="stack">
              <Alert
                showIcon
                type={report.failed > 0 ? 'warning' : 'success'}
                title={t(report.dry_run ? 'people.wouldImport' : 'people.imported', { created: report.created, unchanged: report.unchanged, failed: report.failed })}
              />
              <Table<ImportReport['lines'][number]>
                size="small"
                aria-label={t('people.report')}
                rowKey="line"
                dataSource={report.lines}
                pagination={report.lines.length > 20 ? { pageSize: 20 } : false}
                columns={[
                  { title: t('people.line'), dataIndex: 'line' },
                  { title: t('org.username'), dataIndex: 'username' },
                  {
                    title: t('audit.result'),
                    dataIndex: 'result',
                    filters: (['created', 'unchanged', 'failed'] as const).map((value) => ({ value, text: t(`importResult.${value}`) })),
                    onFilter: (value, line) => line.result === value,
                    render: (result: keyof typeof COLOURS) => <Tag color={COLOURS[result]}>{t(`importResult.${result}`)}</Tag>,
                  },
                  { title: t('audit.reason'), dataIndex: 'errors', render: (errors: string[]) => errors.join('; ') },
                ]}
              />
            </div>
          )}
        </Card>
      </div>
    </>
  );
}
