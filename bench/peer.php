<?php // The peer: PHP's own SoapServer in WSDL mode with PDO on the same database; audit insert as in the floor.
$dsn = getenv('BENCH_DSN');
$pdo = new PDO($dsn, getenv('BENCH_USER'), '', [PDO::ATTR_PERSISTENT => true, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => false]);
class Observation {
    private function strip(array $row): array { return array_filter($row, fn($value) => $value !== null); }
    private function audit(string $operation, $persons, int $records): void {
        global $pdo;
        $pdo->prepare("INSERT INTO audit_record (trace, client_id, login, service, operation, outcome, persons, records) VALUES ('bench', 1, 'bench', 'DispensaryObservation', ?, 'OK', ?::bigint[], ?)")->execute([$operation, $persons, $records]);
    }
    function GetList($request) {
        global $pdo;
        $statement = $pdo->prepare(file_get_contents(getenv('BENCH_PAGE_SQL')));
        $statement->execute([$request->organisation, $request->recordCount ?? 1000]);
        $entries = []; $number = 0;
        foreach ($statement->fetchAll(PDO::FETCH_ASSOC) as $row) {
            $row['plannedMonths'] = $row['plannedMonths'] === '' ? [] : explode(' ', $row['plannedMonths']);
            $row['byAttachment'] = $row['byAttachment'] === 'true';
            if ($row['outside'] !== null) $row['extra'] = ['Item' => [['name' => 'outside', 'value' => $row['outside']]]];
            unset($row['outside']);
            $entries[] = ['recordNumber' => ++$number] + $this->strip($row);
        }
        $this->audit('GetList', null, $number);
        return ['snapshotId' => '0', 'edition' => 'CURRENT', 'asOf' => date('c'), 'changeToken' => '0', 'totalRecords' => $number, 'startRecord' => 1, 'returnedRecords' => $number, 'entries' => $entries];
    }
    function FindPerson($request) {
        global $pdo;
        $statement = $pdo->prepare(file_get_contents(getenv('BENCH_PERSON_SQL')));
        $statement->execute(['{400001}', $request->enp]);
        $persons = []; $ids = [];
        foreach ($statement->fetchAll(PDO::FETCH_ASSOC) as $row) {
            $ids[] = $row['id']; $row['insuredInRegion'] = $row['insuredInRegion'] === 'true'; unset($row['id']);
            $row['observed'] = [];
            foreach (array_filter(explode(',', $row['observedText'] ?? '')) as $pair) { [$id, $code] = explode(' ', $pair); $row['observed'][] = ['entryId' => $id, 'diagnosis' => $code]; }
            unset($row['observedText']);
            $persons[] = $this->strip($row);
        }
        $this->audit('FindPerson', '{' . implode(',', $ids) . '}', count($persons));
        return ['persons' => $persons];
    }
}
$server = new SoapServer(getenv('BENCH_WSDL'), ['cache_wsdl' => WSDL_CACHE_MEMORY, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS]);
$server->setClass('Observation');
$server->handle();
