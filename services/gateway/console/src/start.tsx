// Starts the console: languages, data, look, session, routes.

import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter } from 'react-router';

import { ApiError } from './api/http';
import { startI18n } from './i18n';
import { LookProvider } from './look';
import { ProblemView } from './parts/basics';
import { Boundary } from './parts/Boundary';
import { Loading } from './parts/Loading';
import { SessionEnded } from './parts/SessionEnded';
import { Console } from './routes';
import { SessionProvider } from './session';
import './styles.css';

startI18n();

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // What the service refused it will refuse again.
      retry: (count, error) => count < 2 && (!(error instanceof ApiError) || error.status === 0 || error.status >= 502),
    },
  },
});

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
