// Starts the console: languages, data, look, session, routes.

import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter } from 'react-router';

import { startI18n } from './i18n';
import { LookProvider } from './look';
import { ProblemView } from './parts/basics';
import { Boundary } from './parts/Boundary';
import { newClient } from './parts/client';
import { Loading } from './parts/Loading';
import { SessionEnded } from './parts/SessionEnded';
import { Console } from './routes';
import { SessionProvider } from './session';
import './styles.css';

startI18n();

const client = newClient();

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <LookProvider>
        <BrowserRouter>
          <Boundary>
            <SessionProvider
              waiting={<Loading />}
              ended={(again) => <SessionEnded again={again} />}
              failed={(error, again) => <div className="welcome"><ProblemView error={error} retry={again} /></div>}
            >
              <Console />
            </SessionProvider>
          </Boundary>
        </BrowserRouter>
      </LookProvider>
    </QueryClientProvider>
  </StrictMode>,
);
