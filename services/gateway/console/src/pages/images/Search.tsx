// Images of all projects that one may see: by name, platform, label, package and finding.

import { Button, Flex, Form, Input, Select, Tag as Label } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';

import { registry, type FoundImage } from '../../api/registry';
import { PageHeader, Time } from '../../parts/basics';
import { bytes, short } from '../../parts/format';
import { PagedTable, usePaged } from '../../parts/paged';
import { to } from '../../place';
import { Summary } from './Summary';
import { useClear } from '../../parts/clear';

const FIELDS = ['q', 'platform', 'label', 'package', 'finding', 'kind'] as const;

type Values = Partial<Record<(typeof FIELDS)[number], string>>;

/** What is asked stands in the address, so that it can be linked to. */
function asked(search: URLSearchParams): Values {
  const values: Values = {};
  for (const field of FIELDS) {
    const value = search.get(field)?.trim();
    if (value) values[field] = value;
  }
  return values;
}

function Field({ name, label, width }: { name: 'q' | 'platform' | 'label' | 'package' | 'finding'; label: string; width: number }) {
  const clear = useClear();
  return (
    <Form.Item name={name} noStyle>
      <Input allowClear={clear} aria-label={label} placeholder={label} style={{ width }} />
    </Form.Item>
  );
}

export default function Search() {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const values = asked(search);
  const query = usePaged<FoundImage>(['found-images'], registry.search, { query: values });
  const submit = (form: Values) => {
    const wanted = Object.entries(form).filter((entry): entry is [string, string] => Boolean(entry[1]?.trim()));
    setSearch(Object.fromEntries(wanted.map(([field, value]) => [field, value.trim()])));
  };
  return (
    <>
      <PageHeader title={t('find.title')} sub={t('find.sub')} />
      <Form<Values> layout="inline" className="toolbar" key={search.toString()} initialValues={values} onFinish={submit}>
        <Flex gap="small" wrap>
          <Field name="q" label={t('find.text')} width={230} />
          <Field name="platform" label={t('find.platform')} width={220} />
          <Field name="label" label={t('find.label')} width={210} />
          <Field name="package" label={t('find.package')} width={230} />
          <Field name="finding" label={t('find.finding')} width={210} />
          <Form.Item name="kind" noStyle>
            <Select allowClear aria-label={t('find.kind')} placeholder={t('find.kind')} style={{ width: 120 }} options={(['image', 'index', 'artifact'] as const).map((value) => ({ value, label: t(`find.${value}`) }))} />
          </Form.Item>
          <Button type="primary" htmlType="submit">
            {t('find.search')}
          </Button>
        </Flex>
      </Form>
      <PagedTable<FoundImage>
        label={t('find.title')}
        query={query}
        rowKey={(image) => `${image.name}@${image.digest}`}
        empty={t('find.none')}
        columns={[
          {
            title: t('common.name'),
            render: (_, image) => <Link to={to.digest(image.org, image.project, image.repository, image.digest)}>{image.name}</Link>,
          },
          { title: t('find.kind'), dataIndex: 'kind', render: (kind: FoundImage['kind']) => t(`find.${kind}`) },
          {
            title: t('images.tags'),
            render: (_, image) => (
              <Flex gap={4} wrap>
                {image.tags.slice(0, 5).map((tag) => (
                  <Label key={tag}>{tag}</Label>
                ))}
                {image.tags.length === 0 && image.index_tags.length > 0 && <span>{t('find.inIndex', { tags: image.index_tags.slice(0, 5).join(', ') })}</span>}
              </Flex>
            ),
          },
          { title: t('images.digest'), dataIndex: 'digest', render: (digest: string) => <span className="mono">{short(digest)}</span> },
          { title: t('images.platforms'), dataIndex: 'platforms', render: (list: string[]) => list.join(', ') },
          { title: t('find.matches'), render: (_, image) => image.matches.map((one) => `${one.name} ${one.detail}`).join(', ') },
          { title: t('images.size'), dataIndex: 'size_bytes', render: (size: number) => bytes(size) },
          { title: t('images.scan'), render: (_, image) => (image.kind === 'image' ? <Summary scan={image.scan} /> : '–') },
          { title: t('images.pushed'), dataIndex: 'pushed_at', render: (at: string) => <Time at={at} /> },
        ]}
      />
    </>
  );
}
