<?php // The walk of a clinic's system on PHP's ext-soap, from the served WSDL; every answer goes to a JSON file of its step.
[$url, $login, $password, $out] = [getenv('URL'), getenv('LOGIN'), getenv('PASSWORD'), getenv('OUT')];
[$today, $doctor, $months] = [getenv('TODAY'), getenv('DOCTOR'), explode(' ', getenv('MONTHS'))];
$enps = explode(' ', getenv('ENPS'));
const OPTIONS = ['cache_wsdl' => WSDL_CACHE_NONE, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS];
const WSSE = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd';

function secured(string $wsdl, string $login, string $password): SoapClient {
    $token = '<wsse:Security xmlns:wsse="' . WSSE . '" soap:mustUnderstand="1"'
        . ' xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><wsse:UsernameToken>'
        . '<wsse:Username>' . htmlspecialchars($login) . '</wsse:Username>'
        . '<wsse:Password>' . htmlspecialchars($password) . '</wsse:Password></wsse:UsernameToken></wsse:Security>';
    $client = new SoapClient($wsdl, OPTIONS);
    $client->__setSoapHeaders(new SoapHeader(WSSE, 'Security', new SoapVar($token, XSD_ANYXML)));
    return $client;
}

function told(string $step, mixed $answer): mixed {
    $shown = isset($answer->content) ? ['content' => base64_encode($answer->content)] + (array) $answer : $answer;
    file_put_contents(getenv('OUT') . "/$step.json", json_encode($shown, JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR));
    return $answer;
}

function refused(string $step, callable $call): void {
    try {
        $call();
    } catch (SoapFault $fault) {
        told($step, [$fault->faultcode, $fault->faultstring, $fault->detail->GatewayFault]);
    }
}

function request(array $items): array {
    $hex = bin2hex(random_bytes(16));
    $parts = [substr($hex, 0, 8), substr($hex, 8, 4), substr($hex, 12, 4), substr($hex, 16, 4), substr($hex, 20)];
    return ['requestId' => implode('-', $parts)] + $items;
}

$lists = secured("$url/soap/observation/v1?wsdl", $login, $password);
told('find', $lists->FindPerson(['enp' => $enps[0]]));
told('find-bare', $lists->FindPerson(['enp' => end($enps)]));
$named = ['lastName' => getenv('LAST_NAME'), 'firstName' => getenv('FIRST_NAME'), 'birthDate' => getenv('BIRTH_DATE')];
told('find-named', $lists->FindPerson($named));
told('find-none', $lists->FindPerson(['enp' => getenv('NOBODY')]));

$items = [['externalId' => 'МИС №1 <&> «ё»', 'enp' => $enps[0], 'diagnosis' => 'I20.8', 'diagnosedOn' => '2024-05-06+03:00',
    'plannedMonths' => $months, 'observedSince' => '2024-05-07', 'doctorSnils' => $doctor]];
foreach (array_slice($enps, 1) as $enp) {
    $items[] = ['enp' => $enp, 'diagnosis' => 'E11.9', 'plannedMonths' => [$months[0]]];
}
$items[] = ['enp' => '1234567890123456', 'diagnosis' => 'E11.9', 'plannedMonths' => [$months[0]]];
$added = told('add', $lists->AddEntries(request(['items' => $items])));
$ids = array_map(fn($result) => $result->id ?? null, $added->results);

told('plan', $lists->UpdatePlans(request(['items' => [
    ['entryId' => $ids[0], 'expectedVersion' => 1, 'plannedMonths' => [$months[1]]],
    ['entryId' => $ids[1]],
    ['entryId' => $ids[2], 'expectedVersion' => 7, 'plannedMonths' => $months],
]])));
$seen = ['conductedOn' => $today, 'doctorSnils' => $doctor, 'doctorType' => '1'];
told('conduct', $lists->ConductObservations(request(['items' => [
    ['entryId' => $ids[0], 'place' => '1', 'result' => '1'] + $seen,
    ['entryId' => $ids[1], 'place' => '9', 'result' => '8'] + $seen,
    ['entryId' => $ids[3], 'place' => '2', 'result' => '9', 'excludedOn' => $today, 'exclusionReason' => '1'] + $seen,
]])));
$end = ['excludedOn' => $today, 'exclusionReason' => '6'];
told('exclude', $lists->ExcludeEntries(request(['items' => [['entryId' => $ids[2]] + $end, ['entryId' => $ids[3]] + $end]])));
told('reopen', $lists->ReopenEntry(request(['entryId' => $ids[2], 'reason' => 'внесено ошибочно'])));

$choice = ['year' => (int) substr($today, 0, 4), 'month' => (int) substr($today, 5, 2)];
$page = ['listType' => 'OBSERVED', 'startRecord' => 1, 'recordCount' => 3];
for ($number = 1; ; $number++) {
    $answer = told("page-$number", $lists->GetList($choice + $page));
    $page['startRecord'] += $answer->returnedRecords;
    $page['snapshotId'] = $answer->snapshotId;
    if ($page['startRecord'] > $answer->totalRecords) {
        break;
    }
}
told('list-one', $lists->GetList($choice + ['listType' => 'EXCLUDED']));
told('list-none', $lists->GetList($choice + ['listType' => 'OBSERVED', 'enp' => getenv('NOBODY')]));
told('entry', $lists->GetEntry(['entryId' => $ids[0]]));
told('find-again', $lists->FindPerson(['enp' => $enps[0]]));
refused('fault', fn() => $lists->GetEntry(['entryId' => '999999999']));
refused('fault-schema', fn() => $lists->FindPerson(['enp' => '', 'lastName' => '']));

$exchange = secured("$url/soap/exchange/v1?wsdl", $login, $password);
told('places', $exchange->GetDictionary(['code' => 'PLACES']));
told('calls', $exchange->GetMyCalls(['from' => getenv('FROM'), 'to' => getenv('TO'), 'operation' => 'UpdatePlans']));
$basic = new SoapClient("$url/soap/exchange/v1?wsdl", OPTIONS + ['login' => $login, 'password' => $password]);
told('ping', $basic->Ping());

$path = getenv('FILE');
$content = file_get_contents($path);
$part = ['fileName' => basename($path), 'offset' => 0, 'content' => substr($content, 0, 50), 'last' => false];
$first = told('part-1', $exchange->PutFilePart(request($part)));
$part = ['fileId' => $first->fileId, 'offset' => $first->receivedBytes, 'content' => substr($content, 50), 'last' => true] + $part;
$file = told('part-2', $exchange->PutFilePart(request($part + ['sha256' => hash_file('sha256', $path)])))->fileId;

function finish(string $step, SoapClient $exchange, string $work): void {
    do {
        usleep(200000);
        $answer = told($step, $exchange->GetOperation(['operationId' => $work]));
    } while (in_array($answer->operation->state, ['QUEUED', 'RUNNING'], true));
}

$upload = told('upload', $lists->UploadList(request(['fileId' => $file])))->operationId;
finish('loaded', $exchange, $upload);
told('ended', $exchange->AbortOperation(request(['operationId' => $upload])));
$ask = ['listType' => 'OBSERVED', 'recordsPerFile' => 1000, 'delivery' => 'MAILBOX', 'format' => 'CSV'];
finish('exported', $exchange, told('export', $lists->ExportList(request($choice + $ask)))->operationId);
told('operations', $exchange->ListOperations());
$files = told('files', $exchange->ListFiles())->files;
$waiting = ['fileId' => end($files)->fileId];
told('file', $exchange->GetFile($waiting));
told('confirm', $exchange->ConfirmFile(request($waiting)));
