import { ReleaseError } from '../../errors';
import { safeText } from '../display-width';
import { EXIT } from '../exit-codes';
import { API_VERSION } from '../output';
import type { Registry } from '../registry';
import type { Session } from '../session';
import type { SpecFinding, Validation } from '../spec-source';
import { glyphs, paint } from '../style';

interface FileValidation extends Validation {
  readonly file: string;
}

/** `sluice validate`: all problems of one or several files, with their places. */
export function addValidateCommand(registry: Registry): void {
  registry
    .add('validate <files...>', 'Check release.yaml files; every problem with its line', [
      'sluice validate release.yaml',
      'sluice validate services/*/release.yaml -o json',
    ])
    .action(async (files: string[], _options: unknown, command) => {
      await registry.run(command, async (session) => {
        const results: FileValidation[] = [];
        for (const file of files) results.push({ file, ...(await validateOne(session, file, files.length > 1)) });
        const valid = results.every(({ problems }) => problems.length === 0);
        session.result(toDocument(results, valid), () =>
          results
            .filter(({ problems }) => problems.length === 0)
            .map(({ file }) => `${paint(glyphs(session.look).ok, 'good', session.look)} ${safeText(file)} is valid.`),
        );
        // On stderr, like a compiler's: they are no result, and editors know the form.
        for (const { problems, warnings } of results) {
          for (const { text } of problems) session.warn(text);
          for (const { text } of warnings) session.note(`${text} (warning)`);
        }
        return valid ? EXIT.ok : EXIT.usage;
      });
    });
}

/** Among several files, one that cannot be read is a problem of that file and hides none of the others'. */
async function validateOne(session: Session, file: string, amongOthers: boolean): Promise<Validation> {
  try {
    return await session.cli.spec.validate(file);
  } catch (error) {
    if (!amongOthers || !(error instanceof ReleaseError)) throw error;
    const { message } = error;
    return { problems: [{ line: 1, column: 1, path: '', message, text: `${file}: ${message}` }], warnings: [] };
  }
}

function toDocument(results: readonly FileValidation[], valid: boolean): object {
  const plain = ({ line, column, path, message }: SpecFinding): object => ({ line, column, path, message });
  return {
    apiVersion: API_VERSION,
    kind: 'Validation',
    valid,
    files: results.map(({ file, problems, warnings }) => ({
      file,
      valid: problems.length === 0,
      problems: problems.map(plain),
      warnings: warnings.map(plain),
    })),
  };
}
