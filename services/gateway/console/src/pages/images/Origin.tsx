// What an image was built on, who signed that, whether it has moved since; and what is built on this image.

import { useQuery } from '@tanstack/react-query';
import { Alert, Card, Descriptions, Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

import { get } from '../../api/http';
import { registry, type Derived, type ImageOrigin, type Origins } from '../../api/registry';
import { Answer, EmptyState } from '../../parts/basics';
import { short } from '../../parts/format';
import { PagedTable, usePaged } from '../../parts/paged';
import { to } from '../../place';

/** `<org>/<project>/<repository>` at a digest. */
function ImageLink({ name, digest }: { name: string; digest: string }) {
  const [org = '', project = '', ...rest] = name.split('/');
  return (
    <Link className="mono" to={to.digest(org, project, rest.join('/'), digest)}>
      {`${name}@${short(digest)}`}
    </Link>
  );
}

export default function Origin({ url }: { url: string }) {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['origin', url], queryFn: () => get<Origins>(registry.origin(url)) });
  return (
    <div className="stack">
      <Answer query={query}>
        {() => (query.data!.images.length === 0 ? <EmptyState text={t('origin.noImages')} /> : query.data!.images.map((image) => <One key={image.digest} image={image} />))}
      </Answer>
      <BuiltOn url={url} />
    </div>
  );
}

function One({ image }: { image: ImageOrigin }) {
  const { t } = useTranslation();
  const { base, claim } = image;
  const held = image.claim_holds === null ? 'unknownClaim' : image.claim_holds ? 'holds' : 'doesNotHold';
  const items = [
    ...(base
      ? [
          {
            key: 'base',
            label: t('origin.base'),
            children: (
              <Flex gap={4} wrap>
                <ImageLink name={base.name} digest={base.digest} />
                {base.tags.map((tag) => (
                  <Tag key={tag}>{tag}</Tag>
                ))}
              </Flex>
            ),
          },
          { key: 'by', label: t('origin.by'), children: `${t(`origin.${base.by}`)}${base.layers > 0 ? `, ${t('origin.count', { count: base.layers })}` : ''}` },
          { key: 'signed', label: t('origin.signed'), children: base.signed ? base.signed_by.map((key) => <Tag key={key} color="green">{key}</Tag>) : <Tag>{t('origin.unsigned')}</Tag> },
        ]
      : []),
    ...(claim
      ? [
          {
            key: 'claim',
            label: t('origin.claim'),
            children: (
              <Flex gap={4} wrap>
                <span className="mono">{claim.name ?? short(claim.digest ?? '')}</span>
                <Tag color={image.claim_holds === null ? 'default' : image.claim_holds ? 'green' : 'red'}>{t(`origin.${held}`)}</Tag>
              </Flex>
            ),
          },
        ]
      : []),
    ...(base && base.tag_moves.length > 0
      ? [
          {
            key: 'moves',
            label: t('origin.moves'),
            children: (
              <ul className="plain">
                {base.tag_moves.map((move) => (
                  <li key={move.tag}>{`${move.tag} ${t(move.same ? 'origin.leads' : move.now ? 'origin.moved' : 'origin.gone')}`}</li>
                ))}
              </ul>
            ),
          },
        ]
      : []),
    ...(base && base.others.length > 0
      ? [
          {
            key: 'others',
            label: t('origin.others'),
            children: (
              <ul className="plain">
                {base.others.map((other) => (
                  <li key={`${other.name}@${other.digest}`}>
                    <ImageLink name={other.name} digest={other.digest} />
                  </li>
                ))}
              </ul>
            ),
          },
        ]
      : []),
  ];
  const verdict = image.rebuild_needed ? 'origin.rebuild' : base ? 'origin.current' : 'origin.noBase';
  return (
    <Card title={image.platform ?? short(image.digest)}>
      <div className="stack">
        <Alert type={image.rebuild_needed ? 'warning' : base ? 'success' : 'info'} showIcon title={t(verdict)} description={image.reason} />
        <Descriptions column={1} items={items} />
      </div>
    </Card>
  );
}

function BuiltOn({ url }: { url: string }) {
  const { t } = useTranslation();
  const query = usePaged<Derived>(['derived', url], registry.derived(url));
  return (
    <PagedTable<Derived>
      size="small"
      label={t('origin.derived')}
      query={query}
      rowKey={(image) => `${image.name}@${image.digest}`}
      empty={t('origin.noDerived')}
      columns={[
        { title: t('origin.derived'), render: (_, image) => <ImageLink name={image.name} digest={image.digest} /> },
        { title: t('images.tags'), dataIndex: 'tags', render: (tags: string[]) => tags.join(', ') },
        { title: t('origin.depth'), dataIndex: 'layers' },
      ]}
    />
  );
}
