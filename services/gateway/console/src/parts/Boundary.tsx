// A page that fails while it is drawn says so, in its place; the frame around it stays.

import { Button, Result, Typography } from 'antd';
import { Component, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

/** How the browsers say that a part of the program is not there: another version of the console was put in its place. */
const GONE = /dynamically imported module|importing a module script failed|unable to preload|chunk/i;

export const isUpdate = (error: unknown): boolean => error instanceof Error && GONE.test(error.message);

interface State {
  error: unknown;
  at?: string;
}

/** `at`: the address; another one is tried anew. */
export class Boundary extends Component<{ children: ReactNode; at?: string }, State> {
  override state: State = { error: null, at: this.props.at };

  static getDerivedStateFromError(error: unknown): Partial<State> {
    return { error };
  }

  static getDerivedStateFromProps(props: { at?: string }, state: State): State | null {
    return props.at === state.at ? null : { error: null, at: props.at };
  }

  override render(): ReactNode {
    return this.state.error === null ? this.props.children : <Broken error={this.state.error} />;
  }
}

export function Broken({ error }: { error: unknown }) {
  const { t } = useTranslation();
  const update = isUpdate(error);
  return (
    <Result
      status={update ? 'info' : 'error'}
      title={t(update ? 'broken.update' : 'broken.title')}
      subTitle={t(update ? 'broken.updateText' : 'broken.text')}
      extra={
        <Button type="primary" onClick={() => window.location.reload()}>
          {t('broken.reload')}
        </Button>
      }
    >
      {!update && <Typography.Paragraph className="code mono">{error instanceof Error ? `${error.name}: ${error.message}` : String(error)}</Typography.Paragraph>}
    </Result>
  );
}
