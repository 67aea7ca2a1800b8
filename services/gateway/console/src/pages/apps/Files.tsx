// Files out of and into an instance. The image needs no program for it.

import { DownloadOutlined, UploadOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Flex, Input, Upload } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

import { readArchive, SessionFailed, writeArchive } from '../../api/files';
import type { Container } from '../../api/volumes';
import { NameTooLong, onlyFile, packed } from '../../api/tar';
import { bytes } from '../../parts/format';
import { saveBlob } from '../../parts/save';

const wrong = (path: string) => path.trim() !== '' && !path.trim().startsWith('/');

interface Outcome {
  ok: boolean;
  text: string;
}

export function Files({ at }: { at: Container }) {
  const { t } = useTranslation();
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('/tmp');
  const [busy, setBusy] = useState<'down' | 'up' | null>(null);
  const [moved, setMoved] = useState(0);
  const [outcome, setOutcome] = useState<Outcome | null>(null);

  async function run(way: 'down' | 'up', work: () => Promise<string>) {
    setBusy(way);
    setMoved(0);
    setOutcome(null);
    try {
      setOutcome({ ok: true, text: await work() });
    } catch (error) {
      if (error instanceof NameTooLong) setOutcome({ ok: false, text: t('files.nameTooLong', { name: error.message }) });
      else setOutcome({ ok: false, text: (error instanceof SessionFailed && error.message) || t('terminal.denied') });
    } finally {
      setBusy(null);
    }
  }

  const download = () =>
    run('down', async () => {
      const archive = await readArchive(at, from.trim(), setMoved);
      const single = await onlyFile(archive);
      const name = single?.name ?? `${from.trim().split('/').findLast(Boolean) ?? 'files'}.tar`;
      saveBlob(name, single?.content ?? archive);
      return t('files.got', { name, size: bytes((single?.content ?? archive).size) });
    });
  const upload = (files: File[]) =>
    run('up', async () => {
      const archive = packed(files.map((file) => ({ name: file.name, content: file, modified: file.lastModified })));
      await writeArchive(at, to.trim(), archive, setMoved);
      return t('files.put', { names: files.map((file) => file.name).join(', '), folder: to.trim() });
    });
  return (
    <div className="stack">
      {outcome && <Alert type={outcome.ok ? 'success' : 'error'} showIcon role="alert" title={outcome.text} />}
      {busy && <Alert type="info" showIcon title={t('files.moved', { size: bytes(moved) })} />}
      <div className="two two-even">
        <Card title={t('files.out')}>
          <Flex vertical gap="small">
            <label htmlFor="files-from">{t('files.path')}</label>
            <Input id="files-from" className="mono" status={wrong(from) ? 'error' : undefined} value={from} placeholder="/etc/hosts" onChange={(event) => setFrom(event.target.value)} onPressEnter={() => from.trim().startsWith('/') && void download()} />
            <small>{t('files.pathHelp')}</small>
            <div>
              <Button type="primary" icon={<DownloadOutlined />} disabled={busy !== null || !from.trim().startsWith('/')} loading={busy === 'down'} onClick={() => void download()}>
                {t('common.download')}
              </Button>
            </div>
          </Flex>
        </Card>
        <Card title={t('files.in')}>
          <Flex vertical gap="small">
            <label htmlFor="files-to">{t('files.folder')}</label>
            <Input id="files-to" className="mono" status={wrong(to) ? 'error' : undefined} value={to} onChange={(event) => setTo(event.target.value)} />
            <small>{t('files.folderHelp')}</small>
            <div>
              <Upload
                multiple
                showUploadList={false}
                disabled={busy !== null || !to.trim().startsWith('/')}
                beforeUpload={(file, all) => {
                  // All that were chosen go at once.
                  if (file === all.at(-1)) void upload(all);
                  return Upload.LIST_IGNORE;
                }}
              >
                <Button icon={<UploadOutlined />} disabled={busy !== null || !to.trim().startsWith('/')} loading={busy === 'up'}>
                  {t('files.choose')}
                </Button>
              </Upload>
            </div>
          </Flex>
        </Card>
      </div>
    </div>
  );
}
