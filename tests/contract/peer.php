<?php // Reads a pinned WSDL with ext-soap, sends one call into a file and reads a ready answer: no network.
class Peer extends SoapClient {
    public function __doRequest($request, $location, $action, $version, $oneWay = false): ?string {
        file_put_contents(getenv('SENT'), $request);
        fwrite(STDERR, "$action\n$location\n");
        return file_get_contents(getenv('ANSWER'));
    }
}
$client = new Peer(getenv('WSDL'), ['cache_wsdl' => WSDL_CACHE_NONE, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS]);
if (getenv('OPERATION') === '') {
    echo json_encode([count($client->__getFunctions()), count($client->__getTypes())]);
    exit;
}
try {
    $arguments = json_decode(getenv('ARGUMENTS'));
    if (isset($arguments->content)) { // JSON holds no bytes
        $arguments->content = base64_decode($arguments->content);
    }
    $answer = $client->__soapCall(getenv('OPERATION'), [$arguments]);
    if (isset($answer->content)) {
        $answer->content = base64_encode($answer->content);
    }
    echo json_encode($answer, JSON_UNESCAPED_UNICODE);
} catch (SoapFault $fault) {
    echo json_encode(['fault' => [$fault->faultcode, $fault->faultstring, $fault->detail]], JSON_UNESCAPED_UNICODE);
}
